"use client";

/**
 * Live progress of long jobs, from a progressd broker: hooks and components for React 18 and 19.
 *
 * @packageDocumentation
 */
export { ProgressProvider, useProgressClient } from "./context.js";
export type { ProgressProviderProps } from "./context.js";
export { useConnectionStatus, useTaskProgress } from "./use-task-progress.js";
export type { TaskProgressOptions, TaskProgressState } from "./use-task-progress.js";
export { TaskProgress } from "./task-progress.js";
export type { TaskProgressProps } from "./task-progress.js";
export { StageIndicator } from "./stage-indicator.js";
export type { TaskComponentProps } from "./component.js";
export { TimeEstimate } from "./time-estimate.js";
export { ConnectionStatus } from "./connection-status.js";
export { defaultTexts } from "./texts.js";
export type { ProgressTexts, SomeProgressTexts } from "./texts.js";
