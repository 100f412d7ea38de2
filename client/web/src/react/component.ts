/** What the components of a task take. */
export interface TaskComponentProps {
  readonly taskId: string;
  readonly className?: string;
}

/** Class names in one. */
export function classes(...names: readonly (string | undefined)[]): string {
  return names.filter(Boolean).join(" ");
}
