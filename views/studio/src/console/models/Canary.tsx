import { Button, Group, Modal, NumberInput, Select, Slider, Stack, Text } from "@mantine/core";
import { useState } from "react";
import { useAction, usePlace, useVersions } from "../api/queries";
import type { Model, Version } from "../api/types";

const MARKS = [1, 5, 10, 25, 50];

/** Chooses a version and its share of an alias's calls. */
export function CanaryDialog({
  model,
  alias,
  onClose,
}: {
  model: Model;
  alias: string;
  onClose: () => void;
}) {
  const { api } = usePlace();
  const current = model.canaries[alias];
  const main = model.aliases[alias];
  const candidates = (useVersions(model.name).data ?? []).filter(
    ({ number, state }) => state === "ready" && number !== main,
  );
  const [chosen, setChosen] = useState<number | null>(current?.version ?? null);
  const [percent, setPercent] = useState(current?.percent ?? 10);
  const version = chosen ?? candidates[0]?.number ?? null;
  const save = useAction({
    run: (number: number) => api.setCanary(model.name, alias, number, percent),
    done: (_, number) => `${percent} % of ${alias} goes to version ${number}`,
    failed: "Could not start the canary",
    after: onClose,
  });

  return (
    <Modal opened onClose={onClose} title={`Try another version on part of ${alias}`} size="lg">
      {candidates.length === 0 ? (
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
      ) : (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            if (version !== null) save.mutate(version);
          }}
        >
          <Stack>
            <Text size="sm">
              A share of the calls to {alias} gets its answer from the version you choose; the rest still from
              version {main}. Compare the two under Metrics, then promote it or end the canary.
            </Text>
            <Select
              label="Version"
              data-autofocus
              allowDeselect={false}
              data={candidates.map(option)}
              value={version === null ? null : String(version)}
              onChange={(value) => setChosen(value ? Number(value) : null)}
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
              <Button
                type="submit"
                loading={save.isPending}
                disabled={version === null || percent <= 0 || percent > 100}
              >
                {current ? "Change the canary" : "Start the canary"}
              </Button>
            </Group>
          </Stack>
        </form>
      )}
    </Modal>
  );
}

function option({ number, deployment, created_by }: Version) {
  const notes = [deployment?.status === "running" ? "running" : "starts when chosen", created_by].filter(
    Boolean,
  );
  return { value: String(number), label: `version ${number} (${notes.join(", ")})` };
}
