"""The words every layer speaks; imports nothing of Millstream's other layers."""
