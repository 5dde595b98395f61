"""The winner taken home: exported, registered in MLflow, and searched with."""
