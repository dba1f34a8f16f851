import { Button, Group, Menu, Tabs } from "@mantine/core";
import { IconChevronDown, IconExternalLink, IconTrash } from "@tabler/icons-react";
import { useNavigate, useParams } from "react-router";
import { useAction, useModel, usePlace, useRights } from "../api/queries";
import type { Model } from "../api/types";
import { useConfirm } from "../ui/Confirm";
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
  const { workspace } = usePlace();
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
          {rights.write && <MoreMenu model={model} />}
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

function MoreMenu({ model }: { model: Model }) {
  const { api, workspace } = usePlace();
  const confirm = useConfirm();
  const navigate = useNavigate();
  const remove = useAction({
    run: () => api.deleteModel(model.name),
    done: `Deleted ${model.name}`,
    failed: "Could not delete the model",
    after: () => navigate(`/w/${workspace.name}/models`),
  });
  const ask = async () => {
    const isSure = await confirm({
      title: `Delete ${model.name}?`,
      body: "Every version, its files and its replicas go with it. Apps that call it will fail. This cannot be undone.",
      action: "Delete the model",
      isDestructive: true,
      typed: model.name,
    });
    if (isSure) remove.mutate();
  };
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <Button variant="default" rightSection={<IconChevronDown size={16} />} loading={remove.isPending}>
          More
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item color="red" leftSection={<IconTrash size={16} />} onClick={() => void ask()}>
          Delete the model
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
