import { Box, Code, Stack, Table, Text } from "@mantine/core";
import { IconSchema } from "@tabler/icons-react";
import { useState } from "react";
import type { App, Graph, Port, Worklet } from "../api/types";
import { GraphView } from "../graph/GraphView";
import { kindOf } from "../graph/kinds";
import { CallFrom } from "../ui/CallFrom";
import { Facts, Section } from "../ui/Page";
import { Empty } from "../ui/States";
import classes from "./Apps.module.css";
import { workletExample } from "./share";

export function Worklets({ app }: { app: App }) {
  if (app.worklets.length === 0) {
    return (
      <Empty icon={<IconSchema size={24} />} title="No worklets">
        The views of this app call models directly.
      </Empty>
    );
  }
  return (
    <Stack gap="xl">
      {app.worklets.map((worklet) => (
        <WorkletSection key={worklet.name} worklet={worklet} />
      ))}
    </Stack>
  );
}

function WorkletSection({ worklet }: { worklet: Worklet }) {
  const [selected, setSelected] = useState<string | null>(null);
  return (
    <Stack gap="md">
      <Section title={worklet.title || worklet.name} flush>
        {worklet.description && (
          <Text size="sm" c="dimmed" px="lg" py="sm">
            {worklet.description}
          </Text>
        )}
        <GraphView
          graph={worklet.graph}
          label={`Graph of ${worklet.name}`}
          selected={selected}
          onSelect={(id) => setSelected(id === selected ? null : id)}
        />
        <Box className={classes.details} aria-live="polite">
          {selected ? <NodeDetails graph={worklet.graph} id={selected} /> : <Ports worklet={worklet} />}
        </Box>
      </Section>
      {worklet.endpoint ? (
        <CallFrom title="Its endpoint" call={{ url: worklet.endpoint, body: workletExample(worklet) }} />
      ) : (
        <Text size="sm" c="dimmed">
          It has no HTTP trigger, and so no endpoint.
        </Text>
      )}
    </Stack>
  );
}

function NodeDetails({ graph, id }: { graph: Graph; id: string }) {
  const node = graph.nodes.find((each) => each.id === id);
  if (!node) return null;
  const titles = new Map(graph.nodes.map(({ id, title }) => [id, title || id]));
  const into = graph.edges.filter(({ target }) => target === id);
  const out = graph.edges.filter(({ source }) => source === id);
  const line = (name: string, port: string, isControl: boolean) => (
    <Text key={`${name}${port}`} size="sm">
      {titles.get(name) ?? name}
      {port && (
        <Text span c="dimmed" size="sm">
          {" "}
          ({isControl ? `when ${port}` : `as ${port}`})
        </Text>
      )}
    </Text>
  );
  return (
    <Stack gap="sm">
      <Text fw={600}>{node.title || node.id}</Text>
      <Facts
        facts={[
          ["Kind", kindOf(node.kind).title],
          ...(node.target
            ? [["Runs", <Code key="target">{node.target}</Code>] as [string, React.ReactNode]]
            : []),
          [
            "Takes",
            into.length ? (
              <div key="in">{into.map((edge) => line(edge.source, edge.port, edge.kind === "control"))}</div>
            ) : (
              "nothing"
            ),
          ],
          [
            "Goes to",
            out.length ? (
              <div key="out">{out.map((edge) => line(edge.target, edge.port, edge.kind === "control"))}</div>
            ) : (
              "nothing"
            ),
          ],
          ...(node.ports.length > 0 ? [["Ports", node.ports.join(", ")] as [string, React.ReactNode]] : []),
        ]}
      />
    </Stack>
  );
}

function Ports({ worklet }: { worklet: Worklet }) {
  return (
    <Stack gap="sm">
      <Box className={classes.ports}>
        <PortTable title="Takes" ports={worklet.input} />
        <PortTable title="Gives" ports={worklet.output} />
      </Box>
      <Text size="xs" c="dimmed">
        Choose a box to see what it runs and where its inputs come from.
      </Text>
    </Stack>
  );
}

function PortTable({ title, ports }: { title: string; ports: Port[] }) {
  if (ports.length === 0) return null;
  return (
    <Box>
      <Text size="xs" fw={600} c="dimmed" mb={2}>
        {title}
      </Text>
      <Table verticalSpacing={5} horizontalSpacing={0} withRowBorders={false} aria-label={title}>
        <Table.Tbody>
          {ports.map((port) => (
            <Table.Tr key={port.name}>
              <Table.Td>
                <Text size="sm" ff="monospace" fz={13}>
                  {port.name}
                </Text>
                {(port.title || port.description) && (
                  <Text size="xs" c="dimmed">
                    {port.title || port.description}
                  </Text>
                )}
              </Table.Td>
              <Table.Td ta="right" style={{ verticalAlign: "top" }}>
                <Code>{port.type}</Code>
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Box>
  );
}
