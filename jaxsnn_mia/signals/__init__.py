"""What a model is asked: functions of its logits, queries in ways of their own, defences of its answers."""
