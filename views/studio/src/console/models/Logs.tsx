import { Select, Text } from "@mantine/core";
import { useState } from "react";
import { useVersionEvents } from "../api/event-stream";
import { useVersions } from "../api/queries";
import type { Model } from "../api/types";
import { LogViewer } from "../ui/LogViewer";
import { Section } from "../ui/Page";
import { Loading } from "../ui/States";
import { versionOption } from "./version-option";

/** What a version's build and replicas write, as they write it; the one that answers is shown first. */
export function Logs({ model }: { model: Model }) {
  const versions = useVersions(model.name);
  const [chosen, setChosen] = useState<number | null>(null);
  const number = chosen ?? model.production_version ?? model.latest_version;
  if (!versions.data) return <Loading rows={6} height={24} />;
  if (number === null) {
    return (
      <Text size="sm" c="dimmed">
        No version yet, and so no log.
      </Text>
    );
  }
  return (
    <Section
      title="Log"
      flush
      aside={
        <Select
          size="xs"
          w={190}
          aria-label="Version"
          allowDeselect={false}
          value={String(number)}
          onChange={(value) => value && setChosen(Number(value))}
          data={versions.data.map(versionOption)}
        />
      }
    >
      <VersionLog key={number} model={model.name} number={number} />
    </Section>
  );
}

function VersionLog({ model, number }: { model: string; number: number }) {
  const { log, stream } = useVersionEvents(model, number);
  return (
    <LogViewer
      log={log}
      stream={stream}
      fileName={`${model}-v${number}.log`}
      withSource
      emptyText="The build and the model write here. Nothing yet."
    />
  );
}
