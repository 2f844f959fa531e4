"""Images of a person's own: where they lie, how they are laid out, what they show, and how the store keeps them."""
