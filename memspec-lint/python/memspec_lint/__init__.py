"""memspec-lint, a program; ``python -m memspec_lint`` starts it."""
