"""The rules, one file each, registered here and nowhere else."""

from __future__ import annotations

from rehearse.judge.rules import (
    aborted,
    accepted_risk,
    adversary_missing,
    baseline_noisy,
    breaks_new_application,
    breaks_running_application,
    closed_loop,
    constraint_not_validated,
    data_loss,
    deadlock,
    disk_headroom,
    driver_behind,
    duration,
    enforcement_lost,
    errors,
    index_build_blocks_writes,
    invalid_index_left,
    latency,
    lock_held_across_statements,
    long_transaction,
    migration_failed,
    not_restartable,
    query_regression,
    replica_lag,
    rewrite_under_lock,
    rollback_incomplete,
    rows_locked,
    sampler_gap,
    scan_under_lock,
    schema_drift,
    stall,
    trial_missing,
    unbounded_lock_queue,
    value_changed,
    wal_volume,
    workload_missed_table,
)
from rehearse.judge.rules.rule import Rule

# Facts of locks and work, which do not depend on how busy the machine was.
STRUCTURAL: tuple[Rule, ...] = (
    aborted.RULE,
    migration_failed.RULE,
    rewrite_under_lock.RULE,
    scan_under_lock.RULE,
    index_build_blocks_writes.RULE,
    lock_held_across_statements.RULE,
    long_transaction.RULE,
    rows_locked.RULE,
    invalid_index_left.RULE,
    data_loss.RULE,
    value_changed.RULE,
    constraint_not_validated.RULE,
    enforcement_lost.RULE,
    rollback_incomplete.RULE,
    not_restartable.RULE,
    unbounded_lock_queue.RULE,
    schema_drift.RULE,
)

# What the traffic met, and what of it was not measured.
MEASURED: tuple[Rule, ...] = (
    breaks_running_application.RULE,
    breaks_new_application.RULE,
    deadlock.RULE,
    query_regression.RULE,
    workload_missed_table.RULE,
    driver_behind.RULE,
    closed_loop.RULE,
    adversary_missing.RULE,
    baseline_noisy.RULE,
    sampler_gap.RULE,
    trial_missing.RULE,
)

# The user's gates: these come last, and point to what the structural rules have found.
GATED: tuple[Rule, ...] = (
    stall.RULE,
    latency.RULE,
    errors.RULE,
    duration.RULE,
    wal_volume.RULE,
    disk_headroom.RULE,
    replica_lag.RULE,
)

# What is said of the findings themselves.
CLOSING: tuple[Rule, ...] = (accepted_risk.RULE,)

RULES: tuple[Rule, ...] = (*STRUCTURAL, *MEASURED, *GATED, *CLOSING)
RULE_NAMES: tuple[str, ...] = tuple(rule.id for rule in RULES)
