import { Anchor, Group, Text } from "@mantine/core";
import { IconExternalLink } from "@tabler/icons-react";
import { createColumnHelper } from "@tanstack/react-table";
import { useMemo } from "react";
import { Link, useSearchParams } from "react-router";
import { useModels, usePlace } from "../api/queries";
import type { ModelSummary } from "../api/types";
import { type Columns, DataTable } from "../ui/DataTable";
import { FrameworkIcon, FrameworkName } from "../ui/Framework";
import { plural } from "../ui/format";
import { Page, Section } from "../ui/Page";
import { SearchField } from "../ui/SearchField";
import { StateBadge } from "../ui/StateBadge";
import { Loaded, Loading } from "../ui/States";
import { Ago } from "../ui/Time";
import { FirstModel } from "./FirstModel";

const column = createColumnHelper<ModelSummary>();

export function Component() {
  const models = useModels();
  const [parameters, setParameters] = useSearchParams();
  const search = parameters.get("q") ?? "";
  const isEmpty = models.data?.length === 0;
  const setSearch = (text: string) => setParameters(text ? { q: text } : {}, { replace: true });

  return (
    <Page
      title="Models"
      description="What you have deployed, and which version answers."
      actions={!isEmpty && <SearchField label="Search models" value={search} onChange={setSearch} />}
    >
      <Loaded query={models} what="the models" loading={<Loading rows={5} height={58} />}>
        {(all) => (all.length === 0 ? <FirstModel /> : <List models={all} search={search} />)}
      </Loaded>
    </Page>
  );
}

function List({ models, search }: { models: ModelSummary[]; search: string }) {
  const root = `/w/${usePlace().workspace.name}`;
  const found = useMemo(() => models.filter((model) => matches(model, search)), [models, search]);
  const columns = useMemo(() => columnsOf(root), [root]);
  return (
    <Section flush>
      <DataTable
        label="Models"
        columns={columns}
        rows={found}
        rowKey={({ name }) => name}
        href={({ name }) => `${root}/models/${name}`}
        initialSort={[{ id: "updated_at", desc: true }]}
        empty={`No model of ${plural(models.length, "model")} matches “${search}”.`}
      />
    </Section>
  );
}

function columnsOf(root: string): Columns<ModelSummary> {
  return [
    column.accessor("name", {
      header: "Model",
      cell: ({ row: { original: model } }) => (
        <Group gap="sm" wrap="nowrap">
          <FrameworkIcon name={model.framework} />
          <div style={{ minWidth: 0 }}>
            <Anchor component={Link} to={`${root}/models/${model.name}`} fw={600} c="inherit" size="sm">
              {model.name}
            </Anchor>
            <Text size="xs" c="dimmed" lineClamp={1}>
              {model.description || <FrameworkName name={model.framework} />}
            </Text>
          </div>
        </Group>
      ),
    }),
    column.accessor("status", { header: "Status", cell: (cell) => <StateBadge state={cell.getValue()} /> }),
    column.accessor("production_version", {
      header: "Production",
      meta: { align: "right", hideBelow: 640 },
      sortUndefined: "last",
      cell: ({ row: { original: model } }) =>
        model.production_version ? (
          <span>
            v{model.production_version}
            {model.latest_version && model.latest_version > model.production_version && (
              <Text span size="xs" c="dimmed">
                {" "}
                of {model.latest_version}
              </Text>
            )}
          </span>
        ) : (
          <Text span c="dimmed" size="sm">
            none
          </Text>
        ),
    }),
    column.display({
      id: "app",
      header: "App",
      meta: { hideBelow: 900 },
      cell: ({ row: { original: model } }) =>
        model.app ? (
          <Anchor href={`${root}/apps/${model.app.name}/open`} target="_blank" rel="noopener" size="sm">
            <Group gap={4} wrap="nowrap" component="span">
              {model.app.name} <IconExternalLink size={14} aria-label="(opens in a new tab)" />
            </Group>
          </Anchor>
        ) : (
          <Text span c="dimmed" size="sm">
            –
          </Text>
        ),
    }),
    column.accessor("updated_at", {
      header: "Updated",
      meta: { align: "right", hideBelow: 640 },
      sortDescFirst: true,
      cell: (cell) => <Ago at={cell.getValue()} />,
    }),
  ];
}

function matches(model: ModelSummary, search: string): boolean {
  const wanted = search.trim().toLowerCase();
  return [model.name, model.description, model.framework ?? "", ...model.tags].some((text) =>
    text.toLowerCase().includes(wanted),
  );
}
