import { Button, Group, Tabs } from "@mantine/core";
import { IconExternalLink } from "@tabler/icons-react";
import { useNavigate, useParams } from "react-router";
import { useModel, usePlace, useRights } from "../api/queries";
import type { Model } from "../api/types";
import { DeleteMenu } from "../ui/DeleteMenu";
import { FrameworkIcon, FrameworkName } from "../ui/Framework";
import { Page } from "../ui/Page";
import { StateBadge } from "../ui/StateBadge";
import { Loaded, PageLoading } from "../ui/States";
import { Logs } from "./Logs";
import { Metrics } from "./Metrics";
import { Overview } from "./Overview";
import { Playground } from "./Playground";
import { Versions } from "./Versions";

const TABS = ["overview", "playground", "metrics", "logs", "versions"] as const;

export function Component() {
  const { model: name = "", tab = "overview" } = useParams();
  const model = useModel(name);
  return (
    <Loaded query={model} what={`the model ${name}`} loading={<PageLoading />}>
      {(loaded) => <ModelScreen model={loaded} tab={tab} />}
    </Loaded>
  );
}

function ModelScreen({ model, tab }: { model: Model; tab: string }) {
  const { api, workspace } = usePlace();
  const rights = useRights();
  const navigate = useNavigate();
  const root = `/w/${workspace.name}`;
  const address = `${root}/models/${model.name}`;
  const current = TABS.find((each) => each === tab) ?? "overview";
  return (
    <Page
      title={model.name}
      heading={
        <Group gap="sm" wrap="nowrap" component="span">
          <FrameworkIcon name={model.framework} />
          {model.name}
        </Group>
      }
      crumbs={[{ label: "Models", to: `${root}/models` }]}
      badges={<StateBadge state={model.status} />}
      description={
        <Group gap={6} component="span">
          <FrameworkName name={model.framework} />
          <span aria-hidden>·</span>
          {model.production_version
            ? `version ${model.production_version} answers`
            : "no version in production"}
        </Group>
      }
      actions={
        <>
          {model.app && (
            <Button
              component="a"
              href={`${root}/apps/${model.app.name}/open`}
              target="_blank"
              rel="noopener"
              rightSection={<IconExternalLink size={16} />}
            >
              Open app
            </Button>
          )}
          {rights.write && (
            <DeleteMenu
              what="model"
              name={model.name}
              consequences="Every version, its files and its replicas go with it. Apps that call it will fail."
              remove={() => api.deleteModel(model.name)}
              then={`/w/${workspace.name}/models`}
            />
          )}
        </>
      }
    >
      <Tabs
        value={current}
        onChange={(next) => void navigate(next === "overview" ? address : `${address}/${next}`)}
        keepMounted={false}
      >
        <Tabs.List mb="lg">
          <Tabs.Tab value="overview">Overview</Tabs.Tab>
          {rights.operate && <Tabs.Tab value="playground">Playground</Tabs.Tab>}
          <Tabs.Tab value="metrics">Metrics</Tabs.Tab>
          <Tabs.Tab value="logs">Logs</Tabs.Tab>
          <Tabs.Tab value="versions">Versions</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="overview">
          <Overview model={model} />
        </Tabs.Panel>
        <Tabs.Panel value="playground">
          <Playground model={model} />
        </Tabs.Panel>
        <Tabs.Panel value="metrics">
          <Metrics model={model} />
        </Tabs.Panel>
        <Tabs.Panel value="logs">
          <Logs model={model} />
        </Tabs.Panel>
        <Tabs.Panel value="versions">
          <Versions model={model} />
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}
