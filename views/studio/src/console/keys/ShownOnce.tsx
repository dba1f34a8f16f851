import { Alert, Box, Button, Group, Stack, Text } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import { useModel, useModels, usePlace } from "../api/queries";
import type { CreatedKey } from "../api/types";
import { type Call, deployExample, modelCall, snippet } from "../models/snippets";
import { CodeBlock, CopyLine } from "../ui/CodeBlock";

/** The only time that a key is on screen: copy it, and see it used. */
export function ShownOnce({ created, onDone }: { created: CreatedKey; onDone: () => void }) {
  const { session } = usePlace();
  const canDeploy = created.scopes.some((scope) => scope === "deploy" || scope === "admin");
  const canCall = canDeploy || created.scopes.includes("predict");
  return (
    <Stack>
      <Alert color="yellow" variant="light" icon={<IconAlertTriangle size={20} />} title="Copy it now">
        It is not shown again. Tenfold keeps only a fingerprint of it.
      </Alert>
      <CopyLine text={created.key} label="Copy the key" />
      {canCall && <CallExample apiKey={created.key} />}
      {canDeploy && (
        <Box>
          <Text size="sm" fw={550} mb={6}>
            Deploy from a notebook
          </Text>
          <CodeBlock
            code={deployExample(session.console_url, created.key)}
            language="python"
            label="Copy the Python lines"
          />
        </Box>
      )}
      <Group justify="flex-end">
        <Button onClick={onDone} data-autofocus>
          I have copied it
        </Button>
      </Group>
    </Stack>
  );
}

/** A call of a model that is really there, where there is one. */
function CallExample({ apiKey }: { apiKey: string }) {
  const { session, workspace } = usePlace();
  const models = useModels().data ?? [];
  const name = (models.find(({ production_version }) => production_version) ?? models[0])?.name ?? null;
  if (name) return <ModelExample name={name} apiKey={apiKey} />;
  const url = `${session.gateway_url}/v1/${workspace.name}/models/MODEL/predict`;
  return <Curl call={{ url, body: { inputs: [] } }} apiKey={apiKey} title="Call a model" />;
}

function ModelExample({ name, apiKey }: { name: string; apiKey: string }) {
  const model = useModel(name).data;
  if (!model) return null;
  const call = modelCall(model.endpoint, model.schema, model.example ?? undefined);
  return <Curl call={call} apiKey={apiKey} title={`Call ${name}`} />;
}

function Curl({ call, apiKey, title }: { call: Call; apiKey: string; title: string }) {
  return (
    <Box>
      <Text size="sm" fw={550} mb={6}>
        {title}
      </Text>
      <CodeBlock code={snippet("curl", call, apiKey)} language="shell" label="Copy the curl call" wrap />
    </Box>
  );
}
