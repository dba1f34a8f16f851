import { Anchor, SegmentedControl, Stack, Text } from "@mantine/core";
import { useState } from "react";
import { Link } from "react-router";
import { usePlace, useRights } from "../api/queries";
import { type Call, type Language, snippet } from "../models/snippets";
import { CodeBlock } from "./CodeBlock";
import { Section } from "./Page";

const LANGUAGES: { value: Language; label: string }[] = [
  { value: "curl", label: "curl" },
  { value: "python", label: "Python" },
  { value: "javascript", label: "JavaScript" },
];

/** Code that makes the call, with the right address and an example, ready to paste. */
export function CallFrom({ call, title = "Call it from" }: { call: Call; title?: string }) {
  const { workspace } = usePlace();
  const rights = useRights();
  const [language, setLanguage] = useState<Language>("curl");
  return (
    <Section
      title={title}
      aside={
        <SegmentedControl
          size="xs"
          aria-label="Language"
          value={language}
          onChange={(value) => setLanguage(value as Language)}
          data={LANGUAGES}
        />
      }
    >
      <Stack gap="xs">
        <CodeBlock
          code={snippet(language, call)}
          language={language === "curl" ? "shell" : language}
          label={`Copy the ${language} code`}
          maxHeight={380}
          wrap={language === "curl"}
        />
        <Text size="sm" c="dimmed">
          Put a key in place of YOUR_KEY
          {rights.write ? (
            <>
              :{" "}
              <Anchor component={Link} inherit to={`/w/${workspace.name}/keys?new=1`}>
                create one
              </Anchor>
              . The scope predict is enough.
            </>
          ) : (
            ": ask an editor for one."
          )}
        </Text>
      </Stack>
    </Section>
  );
}
