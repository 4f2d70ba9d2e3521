"""Pipeline steps; one file each: name, version, plan (units with parameters and inputs) and run."""
