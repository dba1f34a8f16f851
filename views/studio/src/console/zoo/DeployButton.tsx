import { Button, type ButtonProps } from "@mantine/core";
import { IconRocket } from "@tabler/icons-react";
import { useNavigate } from "react-router";
import { useAction, usePlace } from "../api/queries";
import type { ZooEntry } from "../api/types";

/** One click: a version is made, and its page shows how it comes to life. */
export function DeployButton({
  entry,
  ...props
}: { entry: Pick<ZooEntry, "name" | "deployed_as"> } & ButtonProps) {
  const { api, workspace } = usePlace();
  const navigate = useNavigate();
  const deploy = useAction({
    run: () => api.deployZooEntry(entry.name, entry.name),
    failed: `Could not deploy ${entry.name}`,
    after: (_, version) => navigate(`/w/${workspace.name}/models/${entry.name}/versions/${version.number}`),
  });
  return (
    <Button
      leftSection={<IconRocket size={16} />}
      loading={deploy.isPending}
      onClick={() => deploy.mutate()}
      aria-label={`Deploy ${entry.name}`}
      {...props}
    >
      {entry.deployed_as.includes(entry.name) ? "Deploy again" : "Deploy"}
    </Button>
  );
}
