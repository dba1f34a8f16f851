"""A SavedModel's folder is read, and packaged, where TensorFlow is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tenfold.errors import CannotPackage
from tenfold.packaging.detect import detect
from tenfold.packaging.saved_model import SavedModel, Signature, Tensor, read_saved_model
from tenfold.packaging.tensorflow_models import package_tensorflow

FLOAT, TEXT, RESOURCE = 1, 7, 20


def number(value: int) -> bytes:
    found = b""
    value &= (1 << 64) - 1
    while value > 0x7F:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])


def message(field: int, *content: bytes) -> bytes:
    joined = b"".join(content)
    return number(field << 3 | 2) + number(len(joined)) + joined


def tensor(dtype: int, *sizes: int) -> bytes:
    dimensions = [message(2, b"\x08" + number(size)) for size in sizes]
    return b"\x10" + number(dtype) + message(3, *dimensions)


def entry(field: int, name: str, content: bytes) -> bytes:
    return message(field, message(1, name.encode()), message(2, content))


def saved(folder: Path, *signatures: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    about = message(1, message(4, b"serve"), message(5, b"2.18.0"))
    (folder / "saved_model.pb").write_bytes(b"\x08\x01" + message(2, about, *signatures))
    return folder


TAKES = (entry(1, "x", tensor(FLOAT, -1, 3)), entry(1, "words", tensor(TEXT, -1)))
GIVES = (entry(2, "y", tensor(FLOAT, -1, 2)),)
SERVING = entry(5, "serving_default", b"".join((*TAKES, *GIVES)))


def test_signatures_are_read_with_types_and_shapes(tmp_path: Path) -> None:
    assert read_saved_model(saved(tmp_path, SERVING)) == SavedModel(
        "2.18.0",
        ("serve",),
        {
            "serving_default": Signature(
                {"words": Tensor("str", (None,)), "x": Tensor("float32", (None, 3))},
                {"y": Tensor("float32", (None, 2))},
            )
        },
    )


def test_a_folder_is_packaged_as_it_is_and_its_signature_is_the_schema(tmp_path: Path) -> None:
    folder = saved(tmp_path / "exported", SERVING)
    assert detect(folder).kind == "tensorflow"
    root = tmp_path / "package"
    example = {"x": [[1, 2, 3]], "words": ["a"]}
    package = package_tensorflow(folder, "m", root, example=example)
    assert package.schema is not None
    assert package.schema.to_json() == {
        "version": 1,
        "form": "tensor",
        "fields": [
            {"name": "words", "type": "tensor", "dtype": "str", "shape": [None]},
            {"name": "x", "type": "tensor", "dtype": "float32", "shape": [None, 3]},
        ],
        "output": {"kind": "json"},
    }
    assert package.example == {"inputs": {"words": ["a"], "x": [[1.0, 2.0, 3.0]]}}
    assert package.framework == "TensorFlow"
    assert [one for one in package.requirements if one.startswith("tensorflow")]
    assert (root / "data" / "saved_model" / "saved_model.pb").read_bytes() == (folder / "saved_model.pb").read_bytes()
    about = yaml.safe_load((root / "config.yaml").read_text())["model_metadata"]["tenfold"]
    assert (about["signature"], about["format_of_data"]) == ("serving_default", "saved_model")
    assert about["outputs"] == [{"name": "y", "dtype": "float32", "shape": [None, 2]}]


@pytest.mark.parametrize(
    ("signatures", "message"),
    [
        ((), "has no signature 'serving_default', so it does not say what it takes. It has none."),
        (
            (entry(5, "encode", b"".join(GIVES)), entry(5, "decode", b"".join(GIVES))),
            "has no signature 'serving_default', so it does not say what it takes. It has: encode, decode.",
        ),
        (
            (entry(5, "serving_default", entry(1, "table", tensor(RESOURCE))),),
            "The input table of the signature serving_default is not of numbers or texts.",
        ),
    ],
)
def test_a_folder_that_does_not_say_what_it_takes_is_refused(
    tmp_path: Path, signatures: tuple[bytes, ...], message: str
) -> None:
    with pytest.raises(CannotPackage) as refused:
        package_tensorflow(saved(tmp_path / "exported", *signatures), "m", tmp_path / "package")
    assert message in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize("content", [b"", b"not a protocol buffer", message(2, SERVING)[:-5]])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(CannotPackage, match="is not a SavedModel"):
        read_saved_model(tmp_path)
