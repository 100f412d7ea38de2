import { TaskProgress } from "@progressd/client/react";
import { Progress } from "./progress";

// A component of the server: the package says itself that its own belong to the browser.
export default function Page() {
    return (
        <Progress>
            <TaskProgress taskId="42" title="Interview with Ada" />
        </Progress>
    );
}
