import { TASK_ID_MAX } from "./protocol.js";

const FORM = new RegExp(`^[\\w.~:-]{1,${TASK_ID_MAX}}$`);

/** Whether a text may be a task id: 1 to 128 of `A-Z a-z 0-9 . _ ~ : -`, but not `.` or `..`. */
export function isTaskId(text: unknown): text is string {
  return typeof text === "string" && FORM.test(text) && text !== "." && text !== "..";
}
