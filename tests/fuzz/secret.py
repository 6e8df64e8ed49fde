"""What nobody may ever be told."""

SECRET = "nobody-may-ever-read-this-0123456789-abcdefghijklmnopqrstuvwxyz"
