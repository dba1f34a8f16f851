import { Alert, Box, Button, Code, Group, Text } from "@mantine/core";
import { IconKey, IconPlanet, IconRocket } from "@tabler/icons-react";
import { useState } from "react";
import { Link } from "react-router";
import { useAction, usePlace, useRights } from "../api/queries";
import { CodeBlock } from "../ui/CodeBlock";
import { Empty } from "../ui/States";
import { deployExample, KEY_PLACEHOLDER } from "./snippets";

/** No models yet: the three lines that make one, with a key already in them if wanted. */
export function FirstModel() {
  const { api, session, workspace } = usePlace();
  const rights = useRights();
  const [key, setKey] = useState<string | null>(null);
  const createKey = useAction({
    run: () => api.createKey({ name: "notebook", scopes: ["deploy"], expires_in_days: 90 }),
    failed: "Could not create a key",
    after: (_, created) => setKey(created.key),
  });
  const code = deployExample(session.console_url || location.origin, key ?? KEY_PLACEHOLDER);

  return (
    <Empty icon={<IconRocket size={24} />} title="Deploy your first model">
      <Text c="dimmed" mb="md">
        Run this where your model is: a notebook or a script. It becomes an API and an app that people can
        open.
      </Text>
      <Box w="min(560px, calc(100vw - 80px))" ta="left">
        <CodeBlock code={code} language="python" label="Copy the three lines" />
        {key && (
          <Alert mt="sm" color="yellow" variant="light" role="status">
            The key is in the lines above and is not shown again. It can deploy, for 90 days; revoke it under
            Keys.
          </Alert>
        )}
        <Group mt="sm" gap="xs" justify="center">
          <Button
            component={Link}
            variant="default"
            leftSection={<IconPlanet size={16} />}
            to={`/w/${workspace.name}/zoo`}
          >
            Or take one from the zoo
          </Button>
          {rights.write && !key && (
            <Button
              leftSection={<IconKey size={16} />}
              loading={createKey.isPending}
              onClick={() => createKey.mutate()}
            >
              Put a new key in it
            </Button>
          )}
        </Group>
        <Text size="sm" c="dimmed" ta="center" mt="sm">
          On the machine that runs Tenfold no key is needed: <Code>tenfold.deploy(…)</Code> alone is enough.
        </Text>
      </Box>
    </Empty>
  );
}
