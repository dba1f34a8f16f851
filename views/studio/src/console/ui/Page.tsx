import { Anchor, Box, Group, Paper, type PaperProps, Stack, Text, Title } from "@mantine/core";
import { IconChevronRight } from "@tabler/icons-react";
import { Fragment, type ReactNode, useEffect } from "react";
import { Link } from "react-router";
import classes from "./Page.module.css";

export interface Crumb {
  label: string;
  to: string;
}

interface PageProps {
  title: string;
  /** Shown in place of the plain title; the title itself still names the document. */
  heading?: ReactNode;
  crumbs?: Crumb[];
  badges?: ReactNode;
  description?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
}

/** One page of the console: names the document, says where one is, offers the page's actions. */
export function Page({ title, heading, crumbs = [], badges, description, actions, children }: PageProps) {
  useEffect(() => {
    document.title = `${title} · Tenfold`;
  }, [title]);
  return (
    <Stack gap="lg">
      <Box component="header">
        {crumbs.length > 0 && (
          <Crumbs crumbs={crumbs} current={typeof heading === "string" ? heading : title} />
        )}
        <Group justify="space-between" align="flex-start" gap="md">
          <Box className={classes.lead}>
            <Group gap="sm" align="center">
              <Title order={1} size="h2" className={classes.title} tabIndex={-1} data-page-title>
                {heading ?? title}
              </Title>
              {badges}
            </Group>
            {description && (
              <Text c="dimmed" size="sm" mt={4} component="div">
                {description}
              </Text>
            )}
          </Box>
          {actions && <Group gap="xs">{actions}</Group>}
        </Group>
      </Box>
      {children}
    </Stack>
  );
}

function Crumbs({ crumbs, current }: { crumbs: Crumb[]; current: string }) {
  return (
    <Group component="nav" gap={4} mb={6} aria-label="Breadcrumbs" className={classes.crumbs}>
      {crumbs.map(({ label, to }) => (
        <Fragment key={to}>
          <Anchor component={Link} to={to} size="sm" c="dimmed">
            {label}
          </Anchor>
          <IconChevronRight size={14} aria-hidden className={classes.separator} />
        </Fragment>
      ))}
      <Text size="sm" c="dimmed" aria-current="page" truncate maw={280}>
        {current}
      </Text>
    </Group>
  );
}

/** A titled block of a page. */
export function Section({
  title,
  aside,
  children,
  flush = false,
  className = "",
  ...props
}: PaperProps & {
  title?: ReactNode;
  aside?: ReactNode;
  children: ReactNode;
  flush?: boolean;
}) {
  return (
    <Paper component="section" className={`${classes.section} ${className}`} {...props}>
      {(title || aside) && (
        <Group justify="space-between" className={classes.sectionHead} gap="xs">
          <Title order={2} size="h4">
            {title}
          </Title>
          {aside && <Group gap="xs">{aside}</Group>}
        </Group>
      )}
      <Box className={flush ? undefined : classes.sectionBody}>{children}</Box>
    </Paper>
  );
}

/** Names and values, two columns, one column on a phone. */
export function Facts({ facts }: { facts: [name: string, value: ReactNode][] }) {
  return (
    <dl className={classes.facts}>
      {facts.map(([name, value]) => (
        <Fragment key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </Fragment>
      ))}
    </dl>
  );
}
