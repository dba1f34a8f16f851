import { Center, Loader } from "@mantine/core";
import { Navigate, useLocation, useParams } from "react-router";
import { useSession } from "../api/queries";
import { Failed } from "../ui/States";
import { NotFoundScreen, NoWorkspace } from "./ErrorPages";
import { lastWorkspace, ROOMS } from "./places";

/** `/` and `/w/{workspace}`: the first room. */
export function Home() {
  const { workspace } = useParams();
  return <InWorkspace to={(name) => `/w/${workspace ?? name}/models`} />;
}

/** `/models/churn` and the like: the same address in the workspace that was open last. */
export function ShortLink() {
  const { pathname, search, hash } = useLocation();
  const [, first] = pathname.split("/");
  const isRoom = first === "account" || ROOMS.some(({ path }) => path === first);
  if (!isRoom) return <NotFoundScreen />;
  return <InWorkspace to={(name) => `/w/${name}${pathname}${search}${hash}`} />;
}

function InWorkspace({ to }: { to: (workspace: string) => string }) {
  const { pathname, search, hash } = useLocation();
  const session = useSession();
  if (session.isPending)
    return (
      <Center mih="100vh">
        <Loader aria-label="Loading" />
      </Center>
    );
  if (session.error)
    return (
      <Center mih="100vh" p="md">
        <Failed error={session.error} onRetry={() => void session.refetch()} />
      </Center>
    );
  if (!session.data)
    return <Navigate to={`/sign-in?next=${encodeURIComponent(pathname + search + hash)}`} replace />;
  const names = session.data.workspaces.map(({ name }) => name);
  const last = lastWorkspace.get();
  const name = last && names.includes(last) ? last : names[0];
  return name ? <Navigate to={to(name)} replace /> : <NoWorkspace />;
}
