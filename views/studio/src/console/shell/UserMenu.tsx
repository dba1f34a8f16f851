import { Avatar, Menu, SegmentedControl, Text, UnstyledButton, useMantineColorScheme } from "@mantine/core";
import {
  IconDeviceDesktop,
  IconLogout,
  IconMoon,
  IconSun,
  IconUserCircle,
  IconVersions,
} from "@tabler/icons-react";
import { useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate } from "react-router";
import { api } from "../api/client";
import { sessionQuery, useAction, usePlace } from "../api/queries";
import classes from "./Shell.module.css";

export function UserMenu() {
  const { session, workspace } = usePlace();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const client = useQueryClient();
  const navigate = useNavigate();
  const name = session.user.name || session.user.email || "You";
  const signOut = useAction({
    run: () => api.signOut(),
    failed: "Could not sign out",
    after: () => {
      client.clear();
      client.setQueryData(sessionQuery.queryKey, null);
      void navigate("/sign-in");
    },
  });
  return (
    <Menu width={232} position="top-start">
      <Menu.Target>
        <UnstyledButton className={classes.user} aria-label={`Your menu, ${name}`}>
          <Avatar size={28} radius="xl" color="initials" name={name} aria-hidden />
          <span className={classes.workspaceName}>{name}</span>
        </UnstyledButton>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>
          {session.user.email}
          <Text size="xs" c="dimmed" component="span" display="block">
            {workspace.role} in {workspace.title || workspace.name}
          </Text>
        </Menu.Label>
        <Menu.Item
          component={Link}
          to={`/w/${workspace.name}/account`}
          leftSection={<IconUserCircle size={16} />}
        >
          Your account
        </Menu.Item>
        <Menu.Divider />
        <SegmentedControl
          fullWidth
          size="xs"
          m={6}
          w="calc(100% - 12px)"
          aria-label="Colours"
          value={colorScheme}
          onChange={(value) => setColorScheme(value as "light" | "dark" | "auto")}
          data={[
            { value: "light", label: <SchemeLabel icon={<IconSun size={15} />} name="Light" /> },
            { value: "auto", label: <SchemeLabel icon={<IconDeviceDesktop size={15} />} name="Auto" /> },
            { value: "dark", label: <SchemeLabel icon={<IconMoon size={15} />} name="Dark" /> },
          ]}
        />
        <Menu.Divider />
        <Menu.Item leftSection={<IconLogout size={16} />} onClick={() => signOut.mutate()}>
          Sign out
        </Menu.Item>
        <Menu.Divider />
        <Menu.Label>
          <IconVersions size={13} style={{ verticalAlign: -2 }} aria-hidden /> Tenfold {session.version}
        </Menu.Label>
      </Menu.Dropdown>
    </Menu>
  );
}

function SchemeLabel({ icon, name }: { icon: React.ReactNode; name: string }) {
  return (
    <span className={classes.scheme}>
      {icon}
      {name}
    </span>
  );
}
