"""Tests of experiments.study.second."""
