import { Center, Loader, Stack, Text } from "@mantine/core";
import { useEffect, useState } from "react";
import { useParams } from "react-router";
import { usePlace } from "../api/queries";
import { Failed } from "../ui/States";

/**
 * Where Open buttons lead, in a new tab: asks for an address that is good for moments, and goes there. A real page and
 * not a script of the button's, so that the middle mouse button works and no pop-up blocker has a say.
 */
export function Component() {
  const { app = "", view } = useParams();
  const { api } = usePlace();
  const [error, setError] = useState<unknown>(null);
  const [attempt, setAttempt] = useState(0);

  // biome-ignore lint/correctness/useExhaustiveDependencies: an attempt is a reason to ask again
  useEffect(() => {
    let isGone = false;
    document.title = `Opening ${app} · Tenfold`;
    setError(null);
    const ask = async () => {
      const name = view ?? homeOf(await api.app(app));
      const { url } = await api.openView(app, name);
      if (!isGone) location.replace(url);
    };
    ask().catch((failure: unknown) => !isGone && setError(failure));
    return () => {
      isGone = true;
    };
  }, [api, app, view, attempt]);

  if (error !== null)
    return <Failed error={error} what={`the app ${app}`} onRetry={() => setAttempt(attempt + 1)} />;
  return (
    <Center mih="50vh">
      <Stack align="center">
        <Loader />
        <Text c="dimmed" role="status">
          Opening {app}
        </Text>
      </Stack>
    </Center>
  );
}

/** The app's own address names the view that it begins with. */
function homeOf({ url, views }: { url: string; views: { name: string }[] }): string {
  const last = new URL(url, location.origin).pathname.split("/").filter(Boolean)[2];
  return views.find(({ name }) => name === last)?.name ?? views[0]?.name ?? "";
}
