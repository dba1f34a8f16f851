import { ActionIcon, Button, Group, Modal, NumberInput, Stack, Switch, Text, Tooltip } from "@mantine/core";
import { IconPencil } from "@tabler/icons-react";
import { useState } from "react";
import { useAction, usePlace, useRights } from "../api/queries";
import type { Model } from "../api/types";

const MOST = 64;
const LONGEST_MINUTES = 1440;

/** How many replicas the model has, in words, and the way to change it. */
export function Scale({ model }: { model: Model }) {
  const rights = useRights();
  const [isOpen, setOpen] = useState(false);
  return (
    <Group gap="xs" wrap="nowrap">
      <span>{inWords(model.scaling)}</span>
      {rights.write && (
        <Tooltip label="Change how many replicas it has">
          <ActionIcon
            variant="subtle"
            color="gray"
            aria-label="Change how many replicas it has"
            onClick={() => setOpen(true)}
          >
            <IconPencil size={16} />
          </ActionIcon>
        </Tooltip>
      )}
      {isOpen && <ScaleDialog model={model} onClose={() => setOpen(false)} />}
    </Group>
  );
}

function ScaleDialog({ model, onClose }: { model: Model; onClose: () => void }) {
  const { api } = usePlace();
  const { scaling } = model;
  const [sleeps, setSleeps] = useState(scaling.min === 0);
  const [least, setLeast] = useState(Math.max(1, scaling.min));
  const [most, setMost] = useState(scaling.max);
  const [minutes, setMinutes] = useState(scaling.idle_seconds / 60);
  const idleSeconds = Math.max(1, Math.round(minutes * 60));
  const min = sleeps ? 0 : least;
  const save = useAction({
    run: () =>
      api.changeModel(model.name, {
        replicas: { min, max: Math.max(most, min) },
        ...(sleeps ? { idle_seconds: idleSeconds } : {}),
      }),
    done: "Replicas saved",
    failed: "Could not change the replicas",
    after: onClose,
  });
  return (
    <Modal opened onClose={onClose} title={`Replicas of ${model.name}`}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          save.mutate();
        }}
      >
        <Stack>
          <Text size="sm">
            Each version that runs has so many. More are started while calls wait, and let go when they are
            not needed.
          </Text>
          <Switch
            label="Sleep when nobody calls it"
            description="No replica, no memory. The next call wakes it, and waits for the cold start."
            checked={sleeps}
            onChange={(event) => setSleeps(event.currentTarget.checked)}
          />
          <Group grow align="flex-start">
            {sleeps ? (
              <NumberInput
                label="After minutes without a call"
                min={0.1}
                max={LONGEST_MINUTES}
                decimalScale={1}
                value={minutes}
                onChange={(value) => setMinutes(Number(value) || 0)}
              />
            ) : (
              <NumberInput
                label="At least"
                data-autofocus
                min={1}
                max={MOST}
                allowDecimal={false}
                value={least}
                onChange={(value) => setLeast(Number(value) || 1)}
              />
            )}
            <NumberInput
              label="At most"
              min={Math.max(1, min)}
              max={MOST}
              allowDecimal={false}
              value={Math.max(most, min)}
              onChange={(value) => setMost(Number(value) || 1)}
            />
          </Group>
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" loading={save.isPending} disabled={sleeps && minutes <= 0}>
              Save
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}

function inWords({ min, max, idle_seconds }: Model["scaling"]): string {
  const idle = idle_seconds % 60 === 0 ? `${idle_seconds / 60} min` : `${idle_seconds} s`;
  if (min === 0) return `none to ${max}: sleeps after ${idle} without a call`;
  return min === max ? `${min}` : `${min} to ${max}, as calls need them`;
}
