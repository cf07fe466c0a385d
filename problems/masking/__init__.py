"""What the mask search needs: spaces of masks, criteria, training under masks, fast evaluation of swaps."""
