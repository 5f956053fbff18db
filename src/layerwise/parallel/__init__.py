"""Run tasks in this process, in several, or on Ray, whatever the tasks are."""
