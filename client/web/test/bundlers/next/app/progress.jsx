"use client";
import { ProgressProvider } from "@progressd/client/react";

const token = async (taskId) => (await fetch(`/progress-token/${taskId}`)).text();

export function Progress({ children }) {
    return (
        <ProgressProvider url="https://progress.example.com" token={token}>
            {children}
        </ProgressProvider>
    );
}
