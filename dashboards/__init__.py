"""The results app: what MLflow's and Ray's own pages cannot show of tables, sweeps, objects and runs."""
