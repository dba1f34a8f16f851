import {
  ActionIcon,
  AppShell,
  Box,
  Burger,
  Center,
  Group,
  Kbd,
  Loader,
  Modal,
  Stack,
  Table,
  Text,
  Tooltip,
  UnstyledButton,
  useComputedColorScheme,
  useMantineColorScheme,
} from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconHelp, IconSearch } from "@tabler/icons-react";
import { Suspense, useCallback, useEffect, useMemo, useRef } from "react";
import { Navigate, NavLink, Outlet, useLocation, useNavigate, useNavigation, useParams } from "react-router";
import { PlaceProvider, placeOf, useRights, useSession } from "../api/queries";
import type { Session, WorkspaceMembership } from "../api/types";
import { Failed, PageLoading } from "../ui/States";
import { ConnectionBanner } from "./ConnectionBanner";
import { NotFoundScreen } from "./ErrorPages";
import { Mark } from "./Mark";
import { Palette } from "./Palette";
import { lastWorkspace, ROOMS } from "./places";
import classes from "./Shell.module.css";
import { readPress, SHORTCUTS } from "./shortcuts";
import { UserMenu } from "./UserMenu";
import { WorkspaceSwitcher } from "./WorkspaceSwitcher";

/** Everything around a workspace's page. Nobody who is not signed in gets past here. */
export function Shell() {
  const { workspace: name } = useParams();
  const { pathname, search, hash } = useLocation();
  const session = useSession();

  if (session.isPending) {
    return (
      <Center mih="100vh">
        <Loader aria-label="Loading" />
      </Center>
    );
  }
  if (!session.data && session.error) {
    return (
      <Center mih="100vh" p="md">
        <Failed error={session.error} onRetry={() => void session.refetch()} what="your session" />
      </Center>
    );
  }
  if (!session.data) {
    return <Navigate to={`/sign-in?next=${encodeURIComponent(pathname + search + hash)}`} replace />;
  }
  const workspace = session.data.workspaces.find((each) => each.name === name);
  if (!workspace) return <NotFoundScreen />;
  return <Frame key={workspace.name} session={session.data} workspace={workspace} />;
}

function Frame({ session, workspace }: { session: Session; workspace: WorkspaceMembership }) {
  const place = useMemo(() => placeOf(session, workspace), [session, workspace]);
  const [isMenuOpen, menu] = useDisclosure();
  const [isPaletteOpen, palette] = useDisclosure();
  const [isHelpOpen, help] = useDisclosure();
  const { setColorScheme } = useMantineColorScheme();
  const scheme = useComputedColorScheme();
  const toggleScheme = useCallback(
    () => setColorScheme(scheme === "dark" ? "light" : "dark"),
    [scheme, setColorScheme],
  );
  const root = `/w/${workspace.name}`;

  useEffect(() => lastWorkspace.set(workspace.name), [workspace.name]);
  useShortcuts(root, palette.open, help.open);
  useFocusOnNavigation(menu.close);

  return (
    <PlaceProvider value={place}>
      <a href="#main" className={classes.skip}>
        Skip to the content
      </a>
      <AppShell
        layout="alt"
        header={{ height: { base: 54, md: 0 } }}
        navbar={{ width: 248, breakpoint: "md", collapsed: { mobile: !isMenuOpen } }}
        withBorder={false}
      >
        <AppShell.Header className={classes.header} hiddenFrom="md">
          <Burger
            opened={isMenuOpen}
            onClick={menu.toggle}
            size="sm"
            aria-label={isMenuOpen ? "Close the menu" : "Open the menu"}
          />
          <Mark />
          <ActionIcon
            variant="subtle"
            color="gray"
            size="lg"
            aria-label="Find anything"
            onClick={palette.open}
          >
            <IconSearch size={19} />
          </ActionIcon>
        </AppShell.Header>

        <AppShell.Navbar className={classes.navbar}>
          <Group justify="space-between" className={classes.brand}>
            <Mark />
            <Burger opened hiddenFrom="md" onClick={menu.close} size="sm" aria-label="Close the menu" />
          </Group>
          <WorkspaceSwitcher />
          <UnstyledButton className={classes.search} onClick={palette.open}>
            <IconSearch size={15} aria-hidden />
            <span>Find anything</span>
            <Kbd size="xs">Ctrl K</Kbd>
          </UnstyledButton>
          <Rooms root={root} />
          <Box className={classes.foot}>
            <UserMenu />
            <Tooltip label="Keyboard shortcuts">
              <ActionIcon
                variant="subtle"
                color="gray"
                size="lg"
                aria-label="Keyboard shortcuts"
                onClick={help.open}
              >
                <IconHelp size={18} />
              </ActionIcon>
            </Tooltip>
          </Box>
        </AppShell.Navbar>

        <AppShell.Main className={classes.main}>
          <ConnectionBanner />
          <Progress />
          <Box id="main" tabIndex={-1} className={classes.content}>
            <Suspense fallback={<PageLoading />}>
              <Outlet />
            </Suspense>
          </Box>
        </AppShell.Main>
      </AppShell>
      <Palette isOpen={isPaletteOpen} onClose={palette.close} onToggleScheme={toggleScheme} />
      <Shortcuts isOpen={isHelpOpen} onClose={help.close} />
    </PlaceProvider>
  );
}

function Rooms({ root }: { root: string }) {
  const rights = useRights();
  const rooms = ROOMS.filter(({ needs }) => !needs || rights[needs]);
  return (
    <Stack component="nav" gap={2} className={classes.rooms} aria-label="Main">
      {rooms.map(({ path, title, icon: RoomIcon }) => (
        <NavLink key={path} to={`${root}/${path}`} className={classes.room ?? ""}>
          <RoomIcon size={18} stroke={1.75} aria-hidden />
          {title}
        </NavLink>
      ))}
    </Stack>
  );
}

/** A line at the top while the next page's code is on its way. */
function Progress() {
  const { state } = useNavigation();
  return state === "idle" ? null : (
    <Box className={classes.progress} role="status" aria-label="Loading the page" />
  );
}

function Shortcuts({ isOpen, onClose }: { isOpen: boolean; onClose: () => void }) {
  return (
    <Modal opened={isOpen} onClose={onClose} title="Keyboard shortcuts">
      <Table withRowBorders={false} verticalSpacing={5}>
        <Table.Tbody>
          {SHORTCUTS.map(([keys, meaning]) => (
            <Table.Tr key={meaning}>
              <Table.Td w={130}>
                <Group gap={5}>
                  {keys.map((key) => (
                    <Kbd key={key} size="sm">
                      {key}
                    </Kbd>
                  ))}
                </Group>
              </Table.Td>
              <Table.Td>
                <Text size="sm">{meaning}</Text>
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Modal>
  );
}

function useShortcuts(root: string, openPalette: () => void, openHelp: () => void): void {
  const navigate = useNavigate();
  const chordAt = useRef<number | null>(null);
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      const reading = readPress(
        {
          key: event.key,
          ctrlKey: event.ctrlKey,
          metaKey: event.metaKey,
          altKey: event.altKey,
          isTyping: isTyping(event.target),
          at: event.timeStamp,
        },
        chordAt.current,
      );
      chordAt.current = reading.chordAt;
      const { command } = reading;
      if (!command) return;
      if (command === "palette") openPalette();
      else if (command === "help") openHelp();
      else if (command === "search") {
        const field = document.querySelector<HTMLInputElement>("[data-search]");
        if (!field) return;
        field.focus();
      } else void navigate(`${root}/${command.go}`);
      event.preventDefault();
    };
    window.addEventListener("keydown", onKeyDown);
    return () => window.removeEventListener("keydown", onKeyDown);
  }, [root, navigate, openPalette, openHelp]);
}

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    Boolean(target.closest("input, textarea, select, [contenteditable=true], [role=dialog]"))
  );
}

/** A new page begins at its title, for the eye and for a screen reader. Tabs of one page keep the focus where it is. */
function useFocusOnNavigation(closeMenu: () => void): void {
  const { pathname } = useLocation();
  const page = pathname.split("/").slice(0, 5).join("/");
  const isFirst = useRef(true);
  // biome-ignore lint/correctness/useExhaustiveDependencies: it is the page that triggers this
  useEffect(() => {
    if (isFirst.current) {
      isFirst.current = false;
      return;
    }
    closeMenu();
    window.scrollTo(0, 0);
    requestAnimationFrame(() => {
      const title =
        document.querySelector<HTMLElement>("[data-page-title]") ?? document.getElementById("main");
      title?.focus({ preventScroll: true });
    });
  }, [page, closeMenu]);
}
