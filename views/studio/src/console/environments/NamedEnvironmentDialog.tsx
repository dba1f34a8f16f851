import { Alert, Button, Group, Modal, Select, Stack, Text, Textarea, TextInput } from "@mantine/core";
import { useState } from "react";
import { detailLines, messageOf } from "../api/errors";
import { useAction, usePlace, usePythonVersions } from "../api/queries";
import type { NamedEnvironment, PythonVersion } from "../api/types";

const NAME = /^[a-z][a-z0-9-]{0,62}$/;
const DEFAULT = "default";

/** A list of requirements under a name; saving builds it. */
export function NamedEnvironmentDialog({
  environment,
  onClose,
}: {
  environment: NamedEnvironment | null;
  onClose: () => void;
}) {
  const { api } = usePlace();
  const versions = usePythonVersions();
  const [name, setName] = useState(environment?.name ?? "");
  const [python, setPython] = useState(environment?.python_version ?? DEFAULT);
  const [text, setText] = useState((environment?.requirements ?? []).join("\n"));
  const [description, setDescription] = useState(environment?.description ?? "");
  const isNameBad = name !== "" && !NAME.test(name);
  const save = useAction({
    run: () =>
      api.setNamedEnvironment(name, {
        python_version: python === DEFAULT ? null : python,
        requirements: text.split("\n").filter((line) => line.trim() !== ""),
        description,
      }),
    done: `Building ${name}`,
    failed: "Could not save the environment",
    after: onClose,
  });
  return (
    <Modal
      opened
      onClose={onClose}
      size="lg"
      title={environment ? `Edit ${environment.name}` : "Name an environment"}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (name && !isNameBad) save.mutate();
        }}
      >
        <Stack>
          {!environment && (
            <TextInput
              data-autofocus
              label="Name"
              placeholder="nlp"
              description="How apps and models ask for it."
              value={name}
              onChange={(event) => setName(event.currentTarget.value)}
              error={isNameBad && "Lower-case letters, digits and hyphens, beginning with a letter."}
            />
          )}
          <Select
            label="Python"
            allowDeselect={false}
            value={python}
            onChange={(value) => setPython(value ?? DEFAULT)}
            data={[{ value: DEFAULT, label: "the platform's own" }, ...options(versions.data ?? [], python)]}
          />
          <Textarea
            {...(environment && { "data-autofocus": true })}
            label="Requirements"
            description="One a line, as in a requirements.txt."
            placeholder={"pandas>=2.2\nscikit-learn==1.7.2"}
            autosize
            minRows={6}
            maxRows={18}
            spellCheck={false}
            styles={{ input: { fontFamily: "var(--mantine-font-family-monospace)", fontSize: 13 } }}
            value={text}
            onChange={(event) => setText(event.currentTarget.value)}
          />
          <TextInput
            label="What it is for"
            value={description}
            onChange={(event) => setDescription(event.currentTarget.value)}
          />
          {save.error && (
            <Alert color="red" variant="light" role="alert" title={messageOf(save.error)}>
              {detailLines(save.error).map((line) => (
                <Text key={line} size="sm">
                  {line}
                </Text>
              ))}
            </Alert>
          )}
          {environment && (
            <Text size="sm" c="dimmed">
              Whoever uses {environment.name} keeps what they have; new versions and releases get the new one
              once it is built.
            </Text>
          )}
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" loading={save.isPending} disabled={!name || isNameBad}>
              Save and build
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}

function options(versions: PythonVersion[], chosen: string) {
  const found = versions.map(({ version, full, source }) => ({
    value: version,
    label: source === "machine" ? full : `${full} (fetched by the first build)`,
  }));
  const isMissing = chosen !== DEFAULT && !found.some(({ value }) => value === chosen);
  return isMissing ? [...found, { value: chosen, label: chosen }] : found;
}
