import { Button, Group, Modal, NumberInput, Select, Slider, Stack, Text } from "@mantine/core";
import { useState } from "react";
import { useAction, usePlace, useVersions } from "../api/queries";
import type { Model, Version } from "../api/types";
import { Loaded } from "../ui/States";

const MARKS = [1, 5, 10, 25, 50];

interface CanaryProps {
  model: Model;
  alias: string;
  onClose: () => void;
}

/** Chooses a version and its share of an alias's calls. */
export function CanaryDialog(props: CanaryProps) {
  const { model, alias, onClose } = props;
  const versions = useVersions(model.name);
  return (
    <Modal opened onClose={onClose} title={`Try another version on part of ${alias}`} size="lg">
      <Loaded query={versions} what="the versions">
        {(loaded) => {
          const candidates = loaded.filter(
            ({ number, state }) => state === "ready" && number !== model.aliases[alias],
          );
          const [first, ...others] = candidates;
          return first ? (
            <CanaryForm {...props} candidates={[first, ...others]} />
          ) : (
            <Stack>
              <Text size="sm">
                There is no other version that is ready. Deploy a new one first, without making it {alias}.
              </Text>
              <Group justify="flex-end">
                <Button variant="default" onClick={onClose}>
                  Close
                </Button>
              </Group>
            </Stack>
          );
        }}
      </Loaded>
    </Modal>
  );
}

function CanaryForm({
  model,
  alias,
  onClose,
  candidates,
}: CanaryProps & { candidates: [Version, ...Version[]] }) {
  const { api } = usePlace();
  const current = model.canaries[alias];
  const [version, setVersion] = useState(current?.version ?? candidates[0].number);
  const [percent, setPercent] = useState(current?.percent ?? 10);
  const save = useAction({
    run: () => api.setCanary(model.name, alias, version, percent),
    done: () => `${percent} % of ${alias} goes to version ${version}`,
    failed: "Could not start the canary",
    after: onClose,
  });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        save.mutate();
      }}
    >
      <Stack>
        <Text size="sm">
          A share of the calls to {alias} gets its answer from the version you choose; the rest still from
          version {model.aliases[alias]}. Compare the two under Metrics, then promote it or end the canary.
        </Text>
        <Select
          label="Version"
          data-autofocus
          allowDeselect={false}
          data={candidates.map(candidateOption)}
          value={String(version)}
          onChange={(value) => value && setVersion(Number(value))}
        />
        <Group align="flex-end" gap="lg" pb="lg">
          <NumberInput
            label="Share of the calls"
            suffix=" %"
            w={150}
            min={0.1}
            max={100}
            decimalScale={1}
            value={percent}
            onChange={(value) => setPercent(Number(value) || 0)}
          />
          <Slider
            flex={1}
            miw={180}
            label={null}
            min={0}
            max={50}
            value={percent}
            onChange={(value) => setPercent(Math.max(value, 1))}
            marks={MARKS.map((value) => ({ value, label: `${value}` }))}
            thumbLabel="Share of the calls, percent"
          />
        </Group>
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" loading={save.isPending} disabled={percent <= 0 || percent > 100}>
            {current ? "Change the canary" : "Start the canary"}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

/** A version that is ready, as a choice of a list. */
export function candidateOption({ number, deployment, created_by }: Version) {
  const notes = [deployment?.status === "running" ? "running" : "starts when chosen", created_by].filter(
    Boolean,
  );
  return { value: String(number), label: `version ${number} (${notes.join(", ")})` };
}
