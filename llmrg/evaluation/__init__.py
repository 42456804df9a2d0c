"""What a comparison found: metrics per user, paired statistics, baselines, reports and their rendering."""
