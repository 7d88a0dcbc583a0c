"""The rules, one file each, registered here and nowhere else."""

from __future__ import annotations

from rehearse.judge.rules import (
    adversary_missing,
    baseline_noisy,
    breaks_running_application,
    data_loss,
    deadlock,
    driver_behind,
    duration,
    errors,
    index_build_blocks_writes,
    invalid_index_left,
    latency,
    lock_held_across_statements,
    long_transaction,
    migration_failed,
    query_regression,
    rewrite_under_lock,
    sampler_gap,
    scan_under_lock,
    stall,
    unbounded_lock_queue,
    wal_volume,
    workload_missed_table,
)
from rehearse.judge.rules.rule import Rule

# Facts of locks and work, which do not depend on how busy the machine was.
STRUCTURAL: tuple[Rule, ...] = (
    migration_failed.RULE,
    rewrite_under_lock.RULE,
    scan_under_lock.RULE,
    index_build_blocks_writes.RULE,
    lock_held_across_statements.RULE,
    long_transaction.RULE,
    invalid_index_left.RULE,
    data_loss.RULE,
    unbounded_lock_queue.RULE,
)

# What the traffic met, and what of it was not measured.
MEASURED: tuple[Rule, ...] = (
    breaks_running_application.RULE,
    deadlock.RULE,
    query_regression.RULE,
    workload_missed_table.RULE,
    driver_behind.RULE,
    adversary_missing.RULE,
    baseline_noisy.RULE,
    sampler_gap.RULE,
)

# The user's gates: these come last, and point to what the structural rules have found.
GATED: tuple[Rule, ...] = (stall.RULE, latency.RULE, errors.RULE, duration.RULE, wal_volume.RULE)

RULES: tuple[Rule, ...] = (*STRUCTURAL, *MEASURED, *GATED)
