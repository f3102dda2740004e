"""Result tokens and their signing keys."""
