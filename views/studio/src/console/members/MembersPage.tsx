import {
  ActionIcon,
  Alert,
  Avatar,
  Badge,
  Button,
  Group,
  Modal,
  Select,
  Stack,
  Text,
  TextInput,
  Tooltip,
} from "@mantine/core";
import { IconUserMinus, IconUserPlus } from "@tabler/icons-react";
import { createColumnHelper } from "@tanstack/react-table";
import { useMemo, useState } from "react";
import { useSearchParams } from "react-router";
import { detailLines } from "../api/errors";
import { useAction, useMembers, usePlace, useRights } from "../api/queries";
import type { Invitation, Member, Role } from "../api/types";
import { CopyLine } from "../ui/CodeBlock";
import { useConfirm } from "../ui/Confirm";
import { type Columns, DataTable } from "../ui/DataTable";
import { Page, Section } from "../ui/Page";
import { Loaded } from "../ui/States";
import { Ago } from "../ui/Time";
import { ROLES } from "./roles";

const column = createColumnHelper<Member>();

export function Component() {
  const members = useMembers();
  const rights = useRights();
  const { session } = usePlace();
  const [parameters, setParameters] = useSearchParams();
  const [invitation, setInvitation] = useState<Invitation | null>(null);
  const isInviting = parameters.has("invite");
  const setInviting = (is: boolean) => setParameters(is ? { invite: "1" } : {}, { replace: true });
  const columns = useMemo(() => columnsOf(session.user.id), [session.user.id]);
  return (
    <Page
      title="Members"
      description="Who may see and do what in this workspace."
      actions={
        rights.manage && (
          <Button leftSection={<IconUserPlus size={16} />} onClick={() => setInviting(true)}>
            Invite
          </Button>
        )
      }
    >
      <Loaded query={members} what="the members">
        {(rows) => (
          <Section flush>
            <DataTable label="Members" columns={columns} rows={rows} rowKey={({ user_id }) => user_id} />
          </Section>
        )}
      </Loaded>
      <Modal opened={isInviting} onClose={() => setInviting(false)} title="Invite to this workspace">
        <Invite
          onCancel={() => setInviting(false)}
          onDone={(made) => {
            setInviting(false);
            setInvitation(made);
          }}
        />
      </Modal>
      <Modal opened={invitation !== null} onClose={() => setInvitation(null)} title="Invited" size="lg">
        {invitation && <Invited invitation={invitation} onDone={() => setInvitation(null)} />}
      </Modal>
    </Page>
  );
}

function columnsOf(ownId: string): Columns<Member> {
  return [
    column.accessor((member) => member.name || member.email, {
      id: "name",
      header: "Member",
      cell: ({ row: { original: member } }) => (
        <Group gap="sm" wrap="nowrap">
          <Avatar size={32} radius="xl" color="initials" name={member.name || member.email} aria-hidden />
          <div style={{ minWidth: 0 }}>
            <Group gap={6}>
              <Text size="sm" fw={600} truncate>
                {member.name || member.email}
              </Text>
              {member.user_id === ownId && (
                <Badge size="xs" variant="default" tt="none">
                  you
                </Badge>
              )}
              {member.pending && (
                <Badge size="xs" variant="default" tt="none">
                  has not signed in yet
                </Badge>
              )}
            </Group>
            {member.name && (
              <Text size="xs" c="dimmed" truncate>
                {member.email}
              </Text>
            )}
          </div>
        </Group>
      ),
    }),
    column.accessor("role", {
      header: "Role",
      cell: ({ row: { original: member } }) => <RoleOf member={member} isOwn={member.user_id === ownId} />,
    }),
    column.accessor("created_at", {
      header: "Since",
      meta: { hideBelow: 640 },
      cell: (cell) => <Ago at={cell.getValue()} />,
    }),
    column.display({
      id: "actions",
      header: "",
      meta: { align: "right", width: 56 },
      cell: ({ row: { original: member } }) => <Remove member={member} isOwn={member.user_id === ownId} />,
    }),
  ];
}

function RoleOf({ member, isOwn }: { member: Member; isOwn: boolean }) {
  const { api } = usePlace();
  const rights = useRights();
  const confirm = useConfirm();
  const change = useAction({
    run: (role: Role) => api.changeRole(member.user_id, role),
    done: (changed) => `${changed.name || changed.email} is now ${changed.role}`,
    failed: "Could not change the role",
  });
  if (!rights.manage) return <Text size="sm">{ROLES[member.role].title}</Text>;
  const choose = async (role: Role) => {
    if (role === member.role) return;
    if (isOwn) {
      const isSure = await confirm({
        title: "Give up your own admin role?",
        body: "You will not be able to take it back: another admin has to.",
        action: "Change my role",
        isDestructive: true,
      });
      if (!isSure) return;
    }
    change.mutate(role);
  };
  return (
    <Select
      size="xs"
      w={128}
      allowDeselect={false}
      aria-label={`Role of ${member.name || member.email}`}
      disabled={change.isPending}
      value={change.isPending ? change.variables : member.role}
      onChange={(value) => value && void choose(value as Role)}
      data={Object.entries(ROLES).map(([value, { title }]) => ({ value, label: title }))}
    />
  );
}

function Remove({ member, isOwn }: { member: Member; isOwn: boolean }) {
  const { api } = usePlace();
  const rights = useRights();
  const confirm = useConfirm();
  const remove = useAction({
    run: () => api.removeMember(member.user_id),
    done: `Removed ${member.name || member.email}`,
    failed: "Could not remove the member",
  });
  if (!rights.manage || isOwn) return null;
  const ask = async () => {
    const isSure = await confirm({
      title: `Remove ${member.name || member.email}?`,
      body: "They lose this workspace at once. What they deployed stays, and so do keys they made: revoke those under Keys.",
      action: "Remove",
      isDestructive: true,
    });
    if (isSure) remove.mutate();
  };
  return (
    <Tooltip label="Remove">
      <ActionIcon
        variant="subtle"
        color="gray"
        aria-label={`Remove ${member.name || member.email}`}
        loading={remove.isPending}
        onClick={() => void ask()}
      >
        <IconUserMinus size={17} />
      </ActionIcon>
    </Tooltip>
  );
}

function Invite({ onDone, onCancel }: { onDone: (invitation: Invitation) => void; onCancel: () => void }) {
  const { api } = usePlace();
  const [email, setEmail] = useState("");
  const [role, setRole] = useState<Role>("editor");
  const invite = useAction({
    run: () => api.invite(email.trim(), role),
    failed: "Could not invite",
    after: (_, made) => onDone(made),
  });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        invite.mutate();
      }}
    >
      <Stack>
        <TextInput
          data-autofocus
          label="E-mail"
          type="email"
          required
          value={email}
          onChange={(event) => setEmail(event.currentTarget.value)}
          error={detailLines(invite.error)[0]}
        />
        <Select
          label="Role"
          description={ROLES[role].explanation}
          allowDeselect={false}
          value={role}
          onChange={(value) => setRole((value ?? "editor") as Role)}
          data={Object.entries(ROLES).map(([value, { title }]) => ({ value, label: title }))}
        />
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onCancel}>
            Cancel
          </Button>
          <Button type="submit" loading={invite.isPending} disabled={!email.includes("@")}>
            Invite
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function Invited({
  invitation: { member, sign_in_url },
  onDone,
}: {
  invitation: Invitation;
  onDone: () => void;
}) {
  return (
    <Stack>
      {sign_in_url ? (
        <>
          <Text size="sm">
            Send this link to {member.email}. It signs them in once; Tenfold sends no mail itself.
          </Text>
          <CopyLine text={sign_in_url} label="Copy the sign-in link" />
          <Alert color="yellow" variant="light">
            Whoever opens the link is {member.email}. It is not shown again.
          </Alert>
        </>
      ) : (
        <Text size="sm">
          {member.email} has an account here already, and finds this workspace in the menu at the top left.
        </Text>
      )}
      <Group justify="flex-end">
        <Button onClick={onDone}>Done</Button>
      </Group>
    </Stack>
  );
}
