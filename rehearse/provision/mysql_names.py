"""Which settings of another MySQL or MariaDB server mean something on one of ours, by names with `*`."""

from __future__ import annotations

import re
from fnmatch import translate

FILES = "they name files or addresses that are not here"
REPLICATION = "there is nothing here to replicate to or from"
SECURITY = "certificates, keys and rules of logging in are not here"
LOG = "the log is read by the rehearsal, and must hold no rows"
SESSION = "they would end or hinder the rehearsal's own sessions; set them in the migration or for a role"
SAFETY = "they are for repairs and tests, or orders to a running server"
HARDWARE = "they need a kernel or hardware that may not be here"
REPEATABLE = "what it runs would fall into one run and not into the next; --setting has it"
FORMAT = "they are decided when a data directory is made"
OTHER = "they do not decide how a migration or its traffic behaves"

# Looked at in this order, and before what is taken.
_LEFT = (
    (
        REPLICATION,
        """
        *slave* *replica* *source_* *master* relay_* rpl_* *semi_sync* *semisync* group_replication* wsrep*
        *gtid* report_* server_id read_only super_read_only offline_mode replicate_*
        """,
    ),
    (
        SECURITY,
        """
        *ssl_* tls_* *tls_version *_rsa_* require_secure_transport *authentication* validate_password*
        *password* keyring* mandatory_roles automatic_sp_privileges partial_revokes *proxy_users sha256_*
        caching_sha2_* skip_grant_tables skip_show_database activate_all_roles_on_login *encrypt*
        *secure_auth connection_control* local_infile
        """,
    ),
    (
        LOG,
        """
        log_error* general_log* slow_query_log* log_output log_raw log_timestamps log_warnings syseventlog*
        log_quer* log_slow* long_query_time lc_messages* *audit_* innodb_status_output* innodb_print_*
        """,
    ),
    (
        FILES,
        """
        *dir *_dirs *_directory *_directories *_file *_path *socket *_basename *_index bind_address port
        *_port admin_address mysqlx* secure_file_priv init_connect plugin_load* log_bin *_networks
        """,
    ),
    (
        FORMAT,
        """
        lower_case_table_names innodb_page_size innodb_*undo_tablespaces innodb_checksum_algorithm
        innodb_*log_files_in_group aria_block_size
        """,
    ),
    (
        HARDWARE,
        """
        large_pages super_large_pages innodb_numa_interleave innodb_use_native_aio innodb_flush_method
        memlock innodb_*_file_buffering innodb_*_file_write_through innodb_dedicated_server innodb_*_aio
        innodb_log_file_mmap innodb_use_atomic_writes
        """,
    ),
    (
        SESSION,
        """
        *wait_timeout interactive_timeout net_*_timeout connect_timeout idle_*_timeout max_execution_time
        max_statement_time max_user_connections max_connect_errors sql_safe_updates sql_select_limit
        foreign_key_checks unique_checks autocommit t*_read_only disabled_storage_engines sql_log_*
        """,
    ),
    (
        SAFETY,
        """
        innodb_force_* innodb_read_only* *_debug* debug* innodb_monitor* innodb_buffer_pool_*_now
        innodb_buffer_pool_dump* innodb_buffer_pool_load* innodb_buffer_pool_evict innodb_*_now
        innodb_fast_shutdown innodb_evict* innodb_disallow* innodb_validate_* innodb_ft_*table
        innodb_version flush flush_time innodb_optimize_fulltext_only innodb_*_abort
        """,
    ),
    (REPEATABLE, "event_scheduler"),
)

# Plans, waits, memory, flushing, and what a statement means.
_TAKEN = """
    innodb_* optimizer_* sql_mode sql_require_primary_key sql_generate_invisible_primary_key sql_if_exists
    default_storage_engine default_tmp_storage_engine default_time_zone time_zone character_set_server
    collation_server character_set_collations explicit_defaults_for_timestamp transaction_isolation
    tx_isolation lock_wait_timeout max_connections max_allowed_packet max_heap_table_size
    max_length_for_sort_data max_prepared_stmt_count max_sort_length max_seeks_for_key max_join_size
    max_tmp_tables max_write_lock_count max_points_in_geometry max_sp_recursion_depth max_rowid_filter_size
    tmp_table_size tmp_memory_table_size tmp_disk_table_size internal_tmp_* temptable_* big_tables
    *_buffer_size *_buffer_length *_cache_size query_cache* table_open_cache table_definition_cache
    table_open_cache_instances thread_cache_size stored_program_* schema_definition_cache
    tablespace_definition_cache binlog_format binlog_row_* binlog_cache_size binlog_order_commits
    binlog_group_commit* binlog_commit_wait* binlog_transaction_compression* binlog_transaction_dependency*
    sync_binlog max_binlog_* sync_frm eq_range_index_dive_limit range_alloc_block_size
    query_alloc_block_size query_prealloc_size transaction_*_size group_concat_max_len
    div_precision_increment default_week_format ft_* concurrent_insert low_priority_updates key_cache_*
    delay_key_write myisam_* aria_* preload_buffer_size expand_fast_index_merge cte_max_recursion_depth
    max_recursive_iterations histogram_* use_stat_tables join_cache_level mrr_* rowid_*
    in_predicate_conversion_threshold alter_algorithm old_alter_table note_verbosity
    updatable_views_with_limit metadata_locks_* end_markers_in_json windowing_use_high_precision
    restrict_fk_on_non_standard_key information_schema_stats_expiry regexp_* auto_increment_* new_mode
    old_mode show_create_table_* analyze_* deadlock_* lock_order_* avoid_temporal_upgrade create_tmp_table_*
    system_versioning_* column_compression_* default_regex_flags use_secondary_engine standard_compliant_cte
    split_materialized_is_enabled
    """


def _compiled(words: str) -> re.Pattern[str]:
    return re.compile("|".join(translate(word) for word in words.split()))


_LEFT_PATTERNS = tuple((_compiled(words), reason) for reason, words in _LEFT)
_TAKEN_PATTERN = _compiled(_TAKEN)
_SESSION_LOCKS = "lock_wait_timeout"  # how long a statement waits for a table: just what a migration is about


def why_left(name: str) -> str:
    """Why a setting of that name is not taken over; empty if it is."""
    if name.endswith(_SESSION_LOCKS):
        return ""
    reason = next((reason for pattern, reason in _LEFT_PATTERNS if pattern.fullmatch(name)), "")
    return reason or ("" if _TAKEN_PATTERN.fullmatch(name) else OTHER)
