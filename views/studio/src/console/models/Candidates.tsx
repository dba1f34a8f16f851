/** What canaries and shadows have in common: the choice of a version to set beside an alias's own, and of a share. */

import { Button, Group, Modal, NumberInput, type NumberInputProps, Select, Stack, Text } from "@mantine/core";
import type { ReactNode } from "react";
import { useVersions } from "../api/queries";
import type { Model, Version } from "../api/types";
import { Loaded } from "../ui/States";

export interface CandidateDialogProps {
  model: Model;
  alias: string;
  onClose: () => void;
}

/** Versions that are ready and are not the alias's own. */
export type Candidates = [Version, ...Version[]];

/** A form to choose one of the candidates with, or what to do when there are none. */
export function CandidateDialog({
  model,
  alias,
  onClose,
  title,
  children,
}: CandidateDialogProps & { title: string; children: (candidates: Candidates) => ReactNode }) {
  const versions = useVersions(model.name);
  return (
    <Modal opened onClose={onClose} title={title} size="lg">
      <Loaded query={versions} what="the versions">
        {(loaded) => {
          const [first, ...others] = loaded.filter(
            ({ number, state }) => state === "ready" && number !== model.aliases[alias],
          );
          return first ? (
            children([first, ...others])
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

/** The field of such a form that takes the version's number. */
export function CandidateSelect({
  candidates,
  value,
  onChange,
}: {
  candidates: Candidates;
  value: number;
  onChange: (number: number) => void;
}) {
  return (
    <Select
      label="Version"
      data-autofocus
      allowDeselect={false}
      data={candidates.map(option)}
      value={String(value)}
      onChange={(chosen) => chosen && onChange(Number(chosen))}
    />
  );
}

/** The field that takes the share of an alias's calls, in percent. */
export function ShareInput({
  onChange,
  ...props
}: Omit<NumberInputProps, "onChange"> & { onChange: (percent: number) => void }) {
  return (
    <NumberInput
      label="Share of the calls"
      suffix=" %"
      max={100}
      decimalScale={1}
      onChange={(value) => onChange(Number(value) || 0)}
      {...props}
    />
  );
}

function option({ number, deployment, created_by }: Version) {
  const notes = [deployment?.status === "running" ? "running" : "starts when chosen", created_by].filter(
    Boolean,
  );
  return { value: String(number), label: `version ${number} (${notes.join(", ")})` };
}
