/**
 * What jobs put into their payloads besides the members that the protocol knows. Nothing, as far as
 * this package is concerned; an application that knows more says so, once:
 *
 *     declare module "@progressd/client" {
 *       interface CustomProgress {
 *         readonly speaker?: string;
 *       }
 *     }
 *
 * Nobody checks that the jobs keep to it.
 */

import type { CompletePayload, ErrorPayload, ProgressUpdatePayload } from "./protocol.js";

/** More members of a `progress_update`. */
export interface CustomProgress {}

/** More members of a `complete`. */
export interface CustomResult {}

/** More members of an `error`. */
export interface CustomError {}

/** A `progress_update` as the job wrote it. */
export type Progress = ProgressUpdatePayload & CustomProgress;
/** A `complete` as the job wrote it. */
export type Result = CompletePayload & CustomResult;
/** An `error` as the job wrote it. */
export type Failure = ErrorPayload & CustomError;
