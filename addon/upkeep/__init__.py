"""What an operator does to a home folder: check it, back it up, restore it, replay what was put aside."""
