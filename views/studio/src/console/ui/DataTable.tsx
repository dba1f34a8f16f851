/** A list of things: sortable, each row reachable and opened by keyboard, readable at 360 px. */

import { Box, Group, Table, Text, UnstyledButton } from "@mantine/core";
import { IconArrowDown, IconArrowUp } from "@tabler/icons-react";
import {
  type Cell,
  type ColumnDef,
  flexRender,
  getCoreRowModel,
  getSortedRowModel,
  type Header,
  type RowData,
  type SortingState,
  useReactTable,
} from "@tanstack/react-table";
import { type KeyboardEvent, type MouseEvent, type ReactNode, useState } from "react";
import { useNavigate } from "react-router";
import classes from "./DataTable.module.css";

declare module "@tanstack/react-table" {
  interface ColumnMeta<TData extends RowData, TValue> {
    align?: "right";
    /** Left out where there is little room: below this many pixels. */
    hideBelow?: 640 | 900;
    width?: number | string;
  }
}

// biome-ignore lint/suspicious/noExplicitAny: columns of one table have values of different types
export type Columns<Row> = ColumnDef<Row, any>[];

interface DataTableProps<Row> {
  label: string;
  columns: Columns<Row>;
  rows: Row[];
  rowKey: (row: Row) => string;
  href?: (row: Row) => string;
  initialSort?: SortingState;
  empty?: string;
}

export function DataTable<Row>({
  label,
  columns,
  rows,
  rowKey,
  href,
  initialSort,
  empty,
}: DataTableProps<Row>) {
  const [sorting, setSorting] = useState<SortingState>(initialSort ?? []);
  const navigate = useNavigate();
  const table = useReactTable({
    data: rows,
    columns,
    state: { sorting },
    onSortingChange: setSorting,
    getRowId: rowKey,
    getCoreRowModel: getCoreRowModel(),
    getSortedRowModel: getSortedRowModel(),
    enableSortingRemoval: false,
  });

  const open = (row: Row) => {
    if (href) void navigate(href(row));
  };

  return (
    <Box className={classes.scroll}>
      <Table className={classes.table} aria-label={label} verticalSpacing={10} horizontalSpacing="md">
        <Table.Thead>
          {table.getHeaderGroups().map((group) => (
            <Table.Tr key={group.id}>
              {group.headers.map((header) => (
                <HeaderCell key={header.id} header={header} />
              ))}
            </Table.Tr>
          ))}
        </Table.Thead>
        <Table.Tbody>
          {table.getRowModel().rows.map((row) => (
            <Table.Tr
              key={row.id}
              className={href ? classes.openable : undefined}
              tabIndex={href ? 0 : undefined}
              onClick={(event) => isPlain(event) && open(row.original)}
              onKeyDown={(event) => onRowKey(event, () => open(row.original))}
            >
              {row.getVisibleCells().map((cell) => {
                const { align, hideBelow } = cell.column.columnDef.meta ?? {};
                return (
                  <Table.Td key={cell.id} data-align={align} data-hide-below={hideBelow}>
                    {drawn(cell)}
                  </Table.Td>
                );
              })}
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      {rows.length === 0 && (
        <Text c="dimmed" ta="center" py="xl" size="sm">
          {empty ?? "Nothing matches."}
        </Text>
      )}
    </Box>
  );
}

/** Called, not mounted as a component: columns made anew with fresh data would unmount the menus that are open in them. */
function drawn<Row>(cell: Cell<Row, unknown>): ReactNode {
  const template = cell.column.columnDef.cell;
  return typeof template === "function" ? template(cell.getContext()) : template;
}

function HeaderCell<Row>({ header }: { header: Header<Row, unknown> }) {
  const { align, hideBelow, width } = header.column.columnDef.meta ?? {};
  const sorted = header.column.getIsSorted();
  const title = flexRender(header.column.columnDef.header, header.getContext());
  return (
    <Table.Th
      data-align={align}
      data-hide-below={hideBelow}
      w={width}
      aria-sort={sorted === "asc" ? "ascending" : sorted === "desc" ? "descending" : undefined}
    >
      {header.column.getCanSort() ? (
        <UnstyledButton className={classes.sort} onClick={header.column.getToggleSortingHandler()}>
          <Group gap={4} wrap="nowrap" component="span">
            {title}
            {sorted === "asc" && <IconArrowUp size={13} aria-hidden />}
            {sorted === "desc" && <IconArrowDown size={13} aria-hidden />}
          </Group>
        </UnstyledButton>
      ) : (
        title
      )}
    </Table.Th>
  );
}

const CONTROLS = "a, button, input, select, textarea, [role=menuitem], [role=option]";

/** A click on the row itself: links and buttons in it keep their own meaning, and text may be selected. */
function isPlain(event: MouseEvent): boolean {
  const target = event.target as HTMLElement;
  const isOwn = !target.closest(CONTROLS) && event.currentTarget.contains(target);
  return isOwn && !window.getSelection()?.toString();
}

function onRowKey(event: KeyboardEvent<HTMLTableRowElement>, open: () => void): void {
  if (event.target !== event.currentTarget) return;
  const row = event.currentTarget;
  const next = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling }[event.key];
  if (event.key === "Enter") open();
  else if (next instanceof HTMLElement) next.focus();
  else return;
  event.preventDefault();
}
