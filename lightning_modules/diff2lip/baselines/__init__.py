"""What Diff2Lip is compared with (thesis table 6.4)."""
