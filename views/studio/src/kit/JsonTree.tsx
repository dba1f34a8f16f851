/** JSON to look through: folds, copies, and moves by arrow keys like any tree. */

import { type KeyboardEvent, useMemo, useState } from "react";
import classes from "./JsonTree.module.css";
import { type JsonRow, rowsOf } from "./json-rows";

interface JsonTreeProps {
  value: unknown;
  label: string;
  /** How many levels are open at first. */
  depth?: number;
}

export function JsonTree({ value, label, depth = 2 }: JsonTreeProps) {
  const [toggled, setToggled] = useState<ReadonlySet<string>>(new Set());
  const [focused, setFocused] = useState("$");
  const rows = useMemo(() => rowsOf(value, { depth, toggled }), [value, depth, toggled]);

  const toggle = (path: string) =>
    setToggled((before) => {
      const next = new Set(before);
      if (!next.delete(path)) next.add(path);
      return next;
    });

  const moveTo = (row: JsonRow | undefined, from: HTMLElement) => {
    if (!row) return;
    setFocused(row.path);
    const items = from.closest("[role=tree]")?.querySelectorAll<HTMLElement>("[data-path]") ?? [];
    [...items].find(({ dataset }) => dataset.path === row.path)?.focus();
  };

  const onKeyDown = (event: KeyboardEvent<HTMLElement>, row: JsonRow, index: number) => {
    const { currentTarget } = event;
    if (event.key === "ArrowDown") moveTo(rows[index + 1], currentTarget);
    else if (event.key === "ArrowUp") moveTo(rows[index - 1], currentTarget);
    else if (event.key === "Home") moveTo(rows[0], currentTarget);
    else if (event.key === "End") moveTo(rows[rows.length - 1], currentTarget);
    else if (event.key === "ArrowRight" && row.isBranch)
      row.isOpen ? moveTo(rows[index + 1], currentTarget) : toggle(row.path);
    else if (event.key === "ArrowLeft") {
      if (row.isBranch && row.isOpen) toggle(row.path);
      else
        moveTo(
          rows.slice(0, index).findLast(({ level }) => level < row.level),
          currentTarget,
        );
    } else if ((event.key === "Enter" || event.key === " ") && row.isBranch) toggle(row.path);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  const current = rows.some(({ path }) => path === focused) ? focused : "$";
  return (
    <div role="tree" aria-label={label} className={classes.tree}>
      {rows.map((row, index) => (
        <div
          key={row.path}
          role="treeitem"
          data-path={row.path}
          tabIndex={row.path === current ? 0 : -1}
          aria-level={row.level + 1}
          aria-expanded={row.isBranch ? row.isOpen : undefined}
          aria-selected={false}
          className={classes.row}
          style={{ paddingLeft: 8 + row.level * 18 }}
          onFocus={() => setFocused(row.path)}
          onClick={() => row.isBranch && toggle(row.path)}
          onKeyDown={(event) => onKeyDown(event, row, index)}
        >
          <span className={classes.arrow} data-open={row.isOpen || undefined} aria-hidden>
            {row.isBranch ? "▸" : ""}
          </span>
          {row.name !== null && <span className={classes.name}>{row.name}</span>}
          {row.name !== null && <span className={classes.colon}>: </span>}
          <span className={classes.value} data-type={row.type}>
            {row.text}
          </span>
        </div>
      ))}
    </div>
  );
}
