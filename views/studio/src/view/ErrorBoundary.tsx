import { Component, type ErrorInfo, type ReactNode } from "react";

interface Props {
  children: ReactNode;
  fallback: (error: Error) => ReactNode;
  /** When it changes, what failed is tried again. */
  resetKey?: unknown;
}

interface State {
  error: Error | null;
  failedFor: unknown;
}

/** One component that fails is a message in its place, never a blank screen. */
export class ErrorBoundary extends Component<Props, State> {
  override state: State = { error: null, failedFor: null };

  static getDerivedStateFromError(thrown: unknown): Partial<State> {
    return { error: thrown instanceof Error ? thrown : new Error(String(thrown)) };
  }

  override componentDidCatch(error: Error, info: ErrorInfo): void {
    console.error(error, info.componentStack);
    this.setState({ failedFor: this.props.resetKey });
  }

  override componentDidUpdate(): void {
    if (this.state.error && this.state.failedFor !== null && this.state.failedFor !== this.props.resetKey) {
      this.setState({ error: null, failedFor: null });
    }
  }

  override render(): ReactNode {
    return this.state.error ? this.props.fallback(this.state.error) : this.props.children;
  }
}
