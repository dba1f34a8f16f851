import { Notifications } from "@mantine/notifications";
import { MutationCache, QueryCache, QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { type ComponentProps, useState } from "react";
import { RouterProvider } from "react-router";
import { KitProvider } from "../kit/KitProvider";
import { ApiError, isTemporary } from "./api/errors";
import { sessionQuery } from "./api/queries";
import { ConfirmProvider } from "./ui/Confirm";

const MOST_RETRIES = 2;

function makeQueryClient(): QueryClient {
  const onError = (error: unknown) => {
    // Signed out elsewhere, or the session ran out: the shell sees it and goes to sign in. A wrong password is not that.
    if (error instanceof ApiError && error.code === "unauthenticated")
      client.setQueryData(sessionQuery.queryKey, null);
  };
  const client: QueryClient = new QueryClient({
    queryCache: new QueryCache({ onError }),
    mutationCache: new MutationCache({ onError }),
    defaultOptions: {
      queries: {
        staleTime: 2_000,
        retry: (failures, error) => isTemporary(error) && failures < MOST_RETRIES,
        networkMode: "always",
      },
      mutations: { networkMode: "always" },
    },
  });
  return client;
}

export function App({ router }: { router: ComponentProps<typeof RouterProvider>["router"] }) {
  const [client] = useState(makeQueryClient);
  return (
    <KitProvider>
      <QueryClientProvider client={client}>
        <ConfirmProvider>
          <RouterProvider router={router} />
          <Notifications position="bottom-right" limit={4} />
        </ConfirmProvider>
      </QueryClientProvider>
    </KitProvider>
  );
}
