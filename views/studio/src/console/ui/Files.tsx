/** The files of a package or a draft: a list on the left, the chosen one on the right. */

import { Box, NavLink, ScrollArea, Text } from "@mantine/core";
import { IconBraces, IconFile, IconFileCode, IconFileText, IconFolder } from "@tabler/icons-react";
import { type ReactNode, useMemo, useState } from "react";
import classes from "./Files.module.css";
import { buildTree, type FileEntry, type TreeNode } from "./file-tree";
import { formatBytes } from "./format";

interface FilesProps {
  files: FileEntry[];
  selected: string | null;
  onSelect: (path: string) => void;
  children: ReactNode;
}

export function Files({ files, selected, onSelect, children }: FilesProps) {
  const tree = useMemo(() => buildTree(files), [files]);
  return (
    <Box className={classes.browser}>
      <ScrollArea.Autosize className={classes.list} mah={520} type="auto">
        <Box component="nav" aria-label="Files" p={6}>
          {tree.map((node) => (
            <Entry key={node.path} node={node} selected={selected} onSelect={onSelect} />
          ))}
        </Box>
      </ScrollArea.Autosize>
      <Box className={classes.content}>{children}</Box>
    </Box>
  );
}

function Entry({
  node,
  selected,
  onSelect,
}: {
  node: TreeNode;
  selected: string | null;
  onSelect: (path: string) => void;
}) {
  const [isOpen, setOpen] = useState(true);
  if (node.children.length > 0) {
    return (
      <NavLink
        className={classes.entry}
        label={node.name}
        leftSection={<IconFolder size={15} aria-hidden />}
        opened={isOpen}
        onChange={setOpen}
        childrenOffset={14}
        component="button"
      >
        {node.children.map((child) => (
          <Entry key={child.path} node={child} selected={selected} onSelect={onSelect} />
        ))}
      </NavLink>
    );
  }
  return (
    <NavLink
      className={classes.entry}
      component="button"
      label={node.name}
      leftSection={<FileIcon name={node.name} />}
      rightSection={
        <Text size="xs" c="dimmed">
          {formatBytes(node.size)}
        </Text>
      }
      active={node.path === selected}
      aria-current={node.path === selected || undefined}
      onClick={() => onSelect(node.path)}
    />
  );
}

function FileIcon({ name }: { name: string }) {
  const Icon = /\.(py|js|ts|sql)$/.test(name)
    ? IconFileCode
    : /\.(ya?ml|json|toml)$/.test(name)
      ? IconBraces
      : /\.(md|txt|cfg|lock)$/.test(name)
        ? IconFileText
        : IconFile;
  return <Icon size={15} aria-hidden />;
}
