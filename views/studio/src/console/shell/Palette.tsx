/** Ctrl+K: type a few letters, press Enter, be there. */

import { Box, Kbd, Modal, ScrollArea, Text, TextInput } from "@mantine/core";
import {
  type Icon,
  IconBoxModel2,
  IconLayoutDashboard,
  IconMoon,
  IconPlus,
  IconSearch,
  IconUserCircle,
} from "@tabler/icons-react";
import { type KeyboardEvent, useEffect, useId, useMemo, useRef, useState } from "react";
import { useNavigate } from "react-router";
import { useApps, useModels, usePlace, useRights } from "../api/queries";
import classes from "./Palette.module.css";
import { rank } from "./palette-search";
import { ROOMS } from "./places";

export interface Entry {
  id: string;
  group: "Pages" | "Models" | "Apps" | "Do";
  title: string;
  detail?: string;
  icon: Icon;
  to?: string;
  run?: () => void;
}

interface PaletteProps {
  isOpen: boolean;
  onClose: () => void;
  onToggleScheme: () => void;
}

export function Palette({ isOpen, onClose, onToggleScheme }: PaletteProps) {
  return (
    <Modal
      opened={isOpen}
      onClose={onClose}
      withCloseButton={false}
      centered={false}
      yOffset="12vh"
      size={580}
      padding={0}
      radius="lg"
      aria-label="Find anything"
      transitionProps={{ transition: "fade-down", duration: 120 }}
    >
      {isOpen && <PaletteBody onClose={onClose} onToggleScheme={onToggleScheme} />}
    </Modal>
  );
}

function PaletteBody({ onClose, onToggleScheme }: Omit<PaletteProps, "isOpen">) {
  const [text, setText] = useState("");
  const [active, setActive] = useState(0);
  const navigate = useNavigate();
  const listId = useId();
  const list = useRef<HTMLDivElement>(null);
  const entries = useEntries(onToggleScheme);
  const found = useMemo(() => rank(entries, text), [entries, text]);

  useEffect(() => {
    list.current?.querySelector(`[data-index="${active}"]`)?.scrollIntoView({ block: "nearest" });
  }, [active]);

  const choose = (entry: Entry | undefined) => {
    if (!entry) return;
    onClose();
    if (entry.to) void navigate(entry.to);
    entry.run?.();
  };

  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && found.length > 0) setActive((active + step + found.length) % found.length);
    else if (event.key === "Enter") choose(found[active]);
    else return;
    event.preventDefault();
  };

  return (
    <>
      <TextInput
        data-autofocus
        size="lg"
        variant="unstyled"
        className={classes.input}
        leftSection={<IconSearch size={18} aria-hidden />}
        placeholder="Models, apps, pages…"
        aria-label="Find anything"
        role="combobox"
        aria-expanded="true"
        aria-controls={listId}
        aria-activedescendant={found[active] ? `${listId}-${active}` : undefined}
        value={text}
        onChange={(event) => {
          setText(event.currentTarget.value);
          setActive(0);
        }}
        onKeyDown={onKeyDown}
      />
      <ScrollArea.Autosize mah={380} type="auto">
        <Box ref={list} id={listId} role="listbox" aria-label="Results" className={classes.list}>
          {found.map((entry, index) => (
            <Box key={entry.id} role="presentation">
              {entry.group !== found[index - 1]?.group && (
                <Text className={classes.group}>{entry.group}</Text>
              )}
              {/* biome-ignore lint/a11y/useKeyWithClickEvents: the input above handles the keys (active descendant) */}
              {/* biome-ignore lint/a11y/useFocusableInteractive: focus stays in the input, as a combobox wants */}
              <div
                id={`${listId}-${index}`}
                role="option"
                aria-selected={index === active}
                data-index={index}
                data-active={index === active || undefined}
                className={classes.option}
                onClick={() => choose(entry)}
                onPointerMove={() => setActive(index)}
              >
                <entry.icon size={17} aria-hidden />
                <span className={classes.title}>{entry.title}</span>
                {entry.detail && <span className={classes.detail}>{entry.detail}</span>}
              </div>
            </Box>
          ))}
          {found.length === 0 && (
            <Text c="dimmed" size="sm" p="md" ta="center">
              Nothing is called that.
            </Text>
          )}
        </Box>
      </ScrollArea.Autosize>
      <Box className={classes.foot}>
        <span>
          <Kbd size="xs">↑</Kbd> <Kbd size="xs">↓</Kbd> choose
        </span>
        <span>
          <Kbd size="xs">Enter</Kbd> open
        </span>
        <span>
          <Kbd size="xs">Esc</Kbd> close
        </span>
      </Box>
    </>
  );
}

function useEntries(onToggleScheme: () => void): Entry[] {
  const { workspace } = usePlace();
  const rights = useRights();
  const models = useModels().data;
  const apps = useApps().data;
  return useMemo(() => {
    const root = `/w/${workspace.name}`;
    const rooms = ROOMS.filter(({ needs }) => !needs || rights[needs]);
    return [
      ...rooms.map(
        ({ path, title, icon, letter }): Entry => ({
          id: `page:${path}`,
          group: "Pages",
          title,
          icon,
          detail: `g ${letter}`,
          to: `${root}/${path}`,
        }),
      ),
      {
        id: "page:account",
        group: "Pages",
        title: "Your account",
        icon: IconUserCircle,
        to: `${root}/account`,
      },
      ...(models ?? []).map(
        ({ name, framework }): Entry => ({
          id: `model:${name}`,
          group: "Models",
          title: name,
          detail: framework ?? "",
          icon: IconBoxModel2,
          to: `${root}/models/${name}`,
        }),
      ),
      ...(apps ?? []).map(
        ({ name, title }): Entry => ({
          id: `app:${name}`,
          group: "Apps",
          title: title || name,
          detail: name,
          icon: IconLayoutDashboard,
          to: `${root}/apps/${name}`,
        }),
      ),
      ...(rights.write
        ? [
            {
              id: "do:key",
              group: "Do",
              title: "Create a key",
              icon: IconPlus,
              to: `${root}/keys?new=1`,
            } satisfies Entry,
          ]
        : []),
      {
        id: "do:scheme",
        group: "Do",
        title: "Switch between dark and light",
        icon: IconMoon,
        run: onToggleScheme,
      },
    ];
  }, [workspace.name, rights, models, apps, onToggleScheme]);
}
