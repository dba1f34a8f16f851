import { Button, Group, Slider, Stack, Text } from "@mantine/core";
import { useState } from "react";
import { useAction, usePlace } from "../api/queries";
import {
  CandidateDialog,
  type CandidateDialogProps,
  CandidateSelect,
  type Candidates,
  ShareInput,
} from "./Candidates";

const MARKS = [1, 5, 10, 25, 50];

/** Chooses a version and its share of an alias's calls. */
export function CanaryDialog(props: CandidateDialogProps) {
  return (
    <CandidateDialog {...props} title={`Try another version on part of ${props.alias}`}>
      {(candidates) => <CanaryForm {...props} candidates={candidates} />}
    </CandidateDialog>
  );
}

function CanaryForm({
  model,
  alias,
  onClose,
  candidates,
}: CandidateDialogProps & { candidates: Candidates }) {
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
        <CandidateSelect candidates={candidates} value={version} onChange={setVersion} />
        <Group align="flex-end" gap="lg" pb="lg">
          <ShareInput w={150} min={0.1} value={percent} onChange={setPercent} />
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
