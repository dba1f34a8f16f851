import { ActionIcon, Button, useMantineColorScheme } from "@mantine/core";
import { IconDeviceDesktop, IconMoon, IconRefresh, IconSun, IconWifiOff } from "@tabler/icons-react";
import type { MouseEvent, ReactNode } from "react";
import styles from "./shell.module.css";

interface ShellProps {
  app: { name: string; title: string };
  views: { name: string; title: string }[];
  current: string;
  viewer: { name: string; role: string | null };
  online: boolean;
  outdated: boolean;
  onReload: () => void;
  onNavigate: (view: string) => void;
  children: ReactNode;
}

/** The frame around a view: whose app it is, its other views, and what concerns the page as a whole. */
export function Shell({
  app,
  views,
  current,
  viewer,
  online,
  outdated,
  onReload,
  onNavigate,
  children,
}: ShellProps) {
  return (
    <div className={styles.shell}>
      <a className={styles.skip} href="#content">
        Skip to content
      </a>
      <header className={styles.header}>
        <div className={styles.bar}>
          <span className={styles.brand}>
            <span className={styles.mark} aria-hidden>
              {app.title.charAt(0).toUpperCase()}
            </span>
            <span className={styles.appTitle}>{app.title}</span>
          </span>
          <span className={styles.tools}>
            {viewer.role && <span className={styles.viewer}>{viewer.name}</span>}
            <SchemeButton />
          </span>
          {views.length > 1 && (
            <nav className={styles.views} aria-label="Views">
              {views.map(({ name, title }) => (
                <a
                  key={name}
                  className={styles.view}
                  href={name}
                  aria-current={name === current ? "page" : undefined}
                  onClick={(event) => {
                    if (isPlainClick(event)) {
                      event.preventDefault();
                      onNavigate(name);
                    }
                  }}
                >
                  {title}
                </a>
              ))}
            </nav>
          )}
        </div>
      </header>
      <div aria-live="polite">
        {!online && (
          <p className={styles.notice} data-kind="offline">
            <IconWifiOff aria-hidden size={18} /> You are offline. What is here stays; new answers need a
            connection.
          </p>
        )}
        {online && outdated && (
          <p className={styles.notice}>
            <IconRefresh aria-hidden size={18} /> There is a newer version of this app.
            <Button size="compact-sm" variant="light" onClick={onReload}>
              Load it
            </Button>
          </p>
        )}
      </div>
      <div className={styles.content}>{children}</div>
      <footer className={styles.footer}>Made with Tenfold</footer>
    </div>
  );
}

function isPlainClick(event: MouseEvent): boolean {
  return event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
}

const SCHEMES = {
  light: { label: "light", Icon: IconSun, next: "dark" },
  dark: { label: "dark", Icon: IconMoon, next: "auto" },
  auto: { label: "like the system", Icon: IconDeviceDesktop, next: "light" },
} as const;

function SchemeButton() {
  // Mantine would switch transitions off by writing a style element, which the page's policy refuses.
  const { colorScheme, setColorScheme } = useMantineColorScheme({ keepTransitions: true });
  const { label, Icon, next } = SCHEMES[colorScheme];
  const said = `Colours: ${label}. Switch to ${SCHEMES[next].label}`;
  return (
    <ActionIcon
      variant="subtle"
      color="gray"
      size="lg"
      aria-label={said}
      title={said}
      onClick={() => setColorScheme(next)}
    >
      <Icon aria-hidden size={19} stroke={1.7} />
    </ActionIcon>
  );
}
