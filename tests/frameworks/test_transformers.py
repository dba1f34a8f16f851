from __future__ import annotations

import pytest

from .conftest import Notebook

NOTEBOOK = """
import os

os.environ["HF_HUB_OFFLINE"] = "1"

import openai
import PIL
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, ViTConfig,
    ViTForImageClassification, ViTImageProcessor, pipeline,
)

import again
import tenfold

torch.manual_seed(0)
same = [f"pillow=={PIL.__version__}"]  # one environment for all of them
words = "[PAD] [UNK] [CLS] [SEP] [MASK] the film was good bad and long <".split()
made = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
made.pre_tokenizer = pre_tokenizers.Whitespace()
tokens = PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]",
                                 sep_token="[SEP]", mask_token="[MASK]")
small = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 8, "intermediate_size": 16}
labels = {0: "negative", 1: "positive"}

bert = BertForSequenceClassification(BertConfig(vocab_size=len(words), id2label=labels, **small)).eval()
judge = pipeline("text-classification", model=bert, tokenizer=tokens)
text = "the film was good and long"
texts = tenfold.deploy(judge, "hf-text", example=text, requirements=same)

tokens.chat_template = "{% for message in messages %}{{ message.content }} {% endfor %}"
gpt = GPT2LMHeadModel(GPT2Config(vocab_size=len(words), n_embd=8, n_layer=1, n_head=2, n_positions=64, bos_token_id=2,
                                 eos_token_id=3, pad_token_id=0)).eval()
writer = pipeline("text-generation", model=gpt, tokenizer=tokens)
first = {"text": "the film", "max_new_tokens": 4}
stories = tenfold.deploy(writer, "hf-story", example=first, app=False, requirements=same)
story = {"text": "the film", "max_new_tokens": 6, "temperature": 0}

vit = ViTForImageClassification(ViTConfig(image_size=16, patch_size=8, **small)).eval()
eyes = pipeline("image-classification", model=vit, image_processor=ViTImageProcessor(size={"height": 16, "width": 16}))
picture = Image.new("RGB", (20, 20), "red")
pictures = tenfold.deploy(eyes, "hf-picture", example=picture, app=False)

messages = [{"role": "user", "content": "the film"}]
address = f"{stories.client.gateway_url}/v1/default/models/hf-story/v1"
client = openai.OpenAI(base_url=address, api_key=stories.client.profile.key)
asked = {"model": "hf-story", "messages": messages, "max_tokens": 5, "temperature": 0}
chat = client.chat.completions.create(**asked)
parts = [part.choices[0].delta.content or "" for part in client.chat.completions.create(**asked, stream=True)]
local = dict(max_new_tokens=6, do_sample=False, return_full_text=False)

again.report(
    text={
        "local": {one["label"]: one["score"] for one in judge(text, top_k=None)},
        "remote": texts.predict(text=text),
        "several": texts.raw({"inputs": [text, "bad"]}),
        "again": again.redeployed(texts).predict(text=text),
        "schema": texts.schema,
        "files": [one["path"] for one in texts.client.get("models", "hf-text", "versions", 1)["files"]],
    },
    story={
        "local": writer(story["text"], **local)[0]["generated_text"],
        "remote": stories.predict(story),
        "streamed": list(stories.stream(story)),
        "schema": stories.schema,
    },
    chat={
        "local": writer(messages, max_new_tokens=5, do_sample=False)[0]["generated_text"][-1]["content"],
        "whole": chat.choices[0].message.content,
        "parts": parts,
    },
    picture={
        "local": {one["label"]: one["score"] for one in eyes(picture)},
        "remote": pictures.predict(image=picture),
        "schema": pictures.schema,
    },
)
"""


def test_pipelines_answer_as_here_and_stream_and_chat(run_in_notebook: Notebook) -> None:
    found = run_in_notebook(NOTEBOOK)
    text = found["text"]
    assert text["remote"] == pytest.approx(text["local"], abs=1e-5)
    assert text["several"][0] == pytest.approx(text["local"], abs=1e-5)
    assert len(text["several"]) == 2
    assert text["again"] == text["remote"]
    assert text["schema"]["fields"] == [{"name": "text", "type": "str"}]
    assert text["schema"]["output"] == {"kind": "scores", "classes": ["negative", "positive"]}
    assert "data/pipeline/model.safetensors" in text["files"]

    story = found["story"]
    assert story["remote"].strip() == story["local"].strip()
    assert "".join(map(str, story["streamed"])) == story["remote"]
    assert story["schema"]["output"] == {"kind": "text"}

    chat = found["chat"]
    assert "".join(chat["parts"]) == chat["whole"]
    assert chat["whole"].strip() == chat["local"].strip()

    picture = found["picture"]
    assert picture["remote"] == pytest.approx(picture["local"], abs=1e-5)
    assert picture["schema"]["fields"] == [{"name": "image", "type": "image"}]
